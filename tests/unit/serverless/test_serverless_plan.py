"""What settings become in each vendor's words, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import Refused
from headrace.rules.facts import ServerlessPoolFacts, facts_from_props
from headrace.settings.releases import ModelRelease, Workload
from headrace.settings.serverless import ServerlessPool
from headrace_components import serverless_plan, warm_up
from headrace_components.place import Place
from headrace_components.provider.fields import validate, with_defaults
from headrace_components.provider.table import RESOURCES
from headrace_components.runtime.warm_up import wanted_minimum
from headrace_components.serverless_plan import EndpointPlan, plan_endpoint

PLACE = Place(organization="acme", environment="test", stage="development", region="eu-central-1", jurisdiction="EU")
RELEASE = {
    "artifact_uri": "s3://acme-models/llama/1",
    "artifact_digest": "sha256:" + "a" * 64,
    "image": "docker.io/vllm/vllm-openai@sha256:" + "0" * 64,
    "cuda_version": "12.8",
    "minimum_compute_capability": "8.9",
    "weights_gib": 8.5,
    "kv_cache_kib_per_token": 64,
    "max_context_tokens": 16384,
    "serving_args": ["--enable-prefix-caching"],
}
WORKLOAD = {
    "class": "latency-sensitive",
    "release": "llama",
    "data_classification": "internal",
    "residency": ["EU"],
    "context_tokens": 8192,
}


def plan(**more: Any) -> EndpointPlan:
    values: dict[str, Any] = {
        "provider": "runpod",
        "workload": "chat",
        "gpu": "L4",
        "min_instances": 0,
        "max_instances": 3,
        "regions": ["EU-RO-1"],
        **more,
    }
    return plan_endpoint(
        "overflow",
        PLACE,
        settings=ServerlessPool.model_validate(values),
        workload=Workload.model_validate(WORKLOAD),
        release=ModelRelease.model_validate(RELEASE),
    )


def modal(**more: Any) -> EndpointPlan:
    return plan(**{"provider": "modal", "regions": ["eu-west"], **more})


@pytest.mark.parametrize(
    ("make", "token"), [(plan, "headrace:runpod:Endpoint"), (modal, "headrace:modal:App")], ids=["runpod", "modal"]
)
def test_the_plan_passes_the_resources_own_check(make: Any, token: str) -> None:
    made = make(warm_up=[{"hours": [8], "min_instances": 1}])
    kind = RESOURCES[token]
    build = serverless_plan.endpoint_inputs if token.endswith("Endpoint") else serverless_plan.app_inputs
    inputs = kind.complete(with_defaults(kind.fields, {"name": "overflow", **build(made, "volume")}))
    assert list(validate(kind.fields, inputs)) == []
    assert list(kind.rules(inputs)) == []


def test_both_vendors_serve_the_same_release_with_the_same_arguments() -> None:
    ours, theirs = plan(), modal()
    assert ours.serving_arguments()[1:] == theirs.serving_arguments()[1:], "only the mount differs"
    assert "--enable-prefix-caching" in ours.serving_arguments()
    assert serverless_plan.endpoint_inputs(ours, "v")["image"] == serverless_plan.app_inputs(theirs, "v")["image"]


def test_a_pool_that_holds_several_gpus_gives_only_the_wanted_ones() -> None:
    gpu = serverless_plan.runpod_gpus(plan(gpu="L4", gpu_fallbacks=["L40S"]).settings)
    assert gpu["pools"] == ["AMPERE_24", "ADA_48_PRO"]
    assert "NVIDIA L4" not in gpu["excludedTypes"]
    assert {"NVIDIA RTX A5000", "NVIDIA L40"} <= set(gpu["excludedTypes"])


def test_facts_say_where_data_goes_and_survive_the_wire() -> None:
    facts = modal(ingress_region="eu-west").facts
    assert (facts.jurisdictions, facts.ingress_jurisdiction, facts.placement_guaranteed) == (("EU",), "EU", True)
    assert modal().facts.ingress_region == "us-east", "the vendor's default is in the United States, and facts say so"
    anywhere = modal(regions=[]).facts
    assert (anywhere.jurisdictions, anywhere.placement_guaranteed) == ((), False)
    assert plan(volume="vol-1", regions=["EU-RO-1", "EU-CZ-1"]).facts.placement_guaranteed is False
    assert facts_from_props(facts.to_props()) == facts
    assert isinstance(facts, ServerlessPoolFacts)


@pytest.mark.parametrize(
    ("make", "more", "sentence"),
    [
        (plan, {"ingress_region": "eu-west"}, "RunPod has no ingress region to choose"),
        (plan, {"regions": []}, "must name one data centre"),
        (plan, {"gpu": "B300"}, "is not sold by RunPod"),
        (modal, {"gpu": "RTX-4090"}, "is not sold by Modal"),
        (modal, {"gpu": "A10G", "gpu_count": 8}, "at most 4 for A10G"),
        (modal, {"execution_timeout_s": 90000}, "between 1 and 86400 seconds"),
        (plan, {"min_instances": 5}, "it must be at most maxInstances"),
        (plan, {"warm_up": [{"hours": [1], "min_instances": 9}]}, "it must be at most maxInstances"),
    ],
)
def test_what_a_vendor_cannot_do_is_refused_with_the_reason(make: Any, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        make(**more)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(Refused) as refused:
        plan(ingress_region="eu-west", gpu="B300", min_instances=9)
    assert len(refused.value.problems) == 3


SCHEDULE = {
    "minInstances": 1,
    "leadTimeS": 900,
    "windows": [{"hours": [8, 9], "minInstances": 4, "timeZone": "Europe/Berlin"}],
}


@pytest.mark.parametrize(
    ("moment", "least"),
    [
        ("2026-11-23T06:44:00", 1),  # Monday 07:44 in Berlin: too early
        ("2026-11-23T06:46:00", 4),  # 07:46: within the lead time
        ("2026-11-23T08:59:00", 4),  # 09:59: still open
        ("2026-11-23T09:00:00", 1),  # 10:00: over
        ("2026-11-24T07:30:00", 1),  # Tuesday
        ("2026-07-06T05:46:00", 4),  # a Monday in summer: an hour earlier in UTC
    ],
)
def test_the_schedule_holds_in_its_own_time_zone_with_its_lead_time(moment: str, least: int) -> None:
    assert wanted_minimum(SCHEDULE, datetime.fromisoformat(moment).replace(tzinfo=UTC)) == least


def test_an_hour_that_a_long_lead_time_reaches_across_stays_warm_until_it_is_over() -> None:
    schedule = {"minInstances": 0, "leadTimeS": 9000, "windows": [{"hours": [8], "minInstances": 2, "timeZone": "UTC"}]}
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    warm = [at for at in range(0, 720, 5) if wanted_minimum(schedule, monday + timedelta(minutes=at)) == 2]
    assert warm == list(range(330, 540, 5)), "from two and a half hours ahead until the window ends, without a gap"


@given(st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1)), st.integers(0, 7200))  # noqa: DTZ001
@settings(max_examples=50, deadline=None)
def test_the_minimum_never_falls_below_what_always_runs(moment: datetime, lead: int) -> None:
    assert wanted_minimum({**SCHEDULE, "leadTimeS": lead}, moment.replace(tzinfo=UTC)) in (1, 4)


def test_the_warm_up_job_holds_its_key_in_a_secret_and_never_overlaps() -> None:
    job = warm_up.cron_job("chat", "image", "map", rest_url="https://x", endpoint="e1", schedule="{}")
    spec = job["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    key = next(one for one in container["env"] if one["name"] == "RUNPOD_API_KEY")
    assert "value" not in key
    assert spec["concurrencyPolicy"] == "Forbid"
    assert pod["automountServiceAccountToken"] is False
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 300, "a run ends before the next is due"


def test_the_warm_up_job_runs_where_there_is_a_way_to_the_vendor() -> None:
    job = warm_up.cron_job("chat", "image", "map", rest_url="https://x", endpoint="e1", schedule="{}")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"headrace.dev/tier": "router"}, "only the router's subnets have a way out"
    (toleration,) = pod["tolerations"]
    assert (toleration["key"], toleration["value"], toleration["effect"]) == (
        "headrace.dev/tier",
        "router",
        "NoSchedule",
    )
    (rule,) = warm_up.network_policies("chat")["allow-https"]["spec"]["egress"]
    (block,) = (peer["ipBlock"] for peer in rule["to"])
    assert "10.0.0.0/8" in block["except"], "nothing of the network itself"
