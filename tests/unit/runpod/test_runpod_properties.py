"""Properties of check, diff and update that hold for every endpoint, tried against the stand-in's own rules."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace.protocol.values import UNKNOWN, Secret, decode, encode
from headrace_components.provider import compare
from headrace_components.provider.fields import validate, with_defaults
from headrace_components.provider.resource import keep_equal
from headrace_components.runpod.endpoint import Endpoint
from headrace_components.runpod.storage import NetworkVolume
from headrace_sandbox.runpod import rules
from headrace_sandbox.runpod.schema import Schemas

KIND = Endpoint()
NAMES = st.text("abcdefghij-", min_size=1, max_size=8)
VERSIONS = st.sampled_from(["11.8", "12.1", "12.4", "12.8", "13.0"])
POOLS = st.lists(
    st.sampled_from(["ADA_24", "AMPERE_24", "ADA_48_PRO", "HOPPER_141"]), min_size=1, max_size=3, unique=True
)


@st.composite
def gpus(draw: st.DrawFn) -> dict[str, Any]:
    gpu: dict[str, Any] = {"pools": draw(POOLS)}
    if draw(st.booleans()):
        gpu["count"] = draw(st.integers(1, 8))
    if draw(st.booleans()):
        gpu["excludedTypes"] = draw(st.lists(st.sampled_from(["NVIDIA L4", "NVIDIA L40"]), unique=True))
    bound = draw(st.sampled_from(["none", "floor", "set"]))
    if bound == "floor":
        gpu["minCudaVersion"] = draw(VERSIONS)
    if bound == "set":
        gpu["allowedCudaVersions"] = draw(st.lists(VERSIONS, unique=True))
    return gpu


@st.composite
def endpoints(draw: st.DrawFn, kind: str | None = None) -> dict[str, Any]:
    kind = kind or draw(st.sampled_from(["QUEUE", "LOAD_BALANCER"]))
    on_delay = kind == "QUEUE" and draw(st.booleans())
    scaling: dict[str, Any] = (
        {"type": "QUEUE_DELAY", "queueDelay": draw(st.integers(1, 60))}
        if on_delay
        else {"type": "REQUEST_COUNT", "requestCount": draw(st.integers(1, 64))}
    )
    least = draw(st.integers(0, 5))
    workers: dict[str, Any] = {"min": least, "max": least + draw(st.integers(0, 5))}
    if (kind == "LOAD_BALANCER" or on_delay) and draw(st.booleans()):
        workers["idleTimeout"] = draw(st.integers(1, 3600))
    inputs: dict[str, Any] = {
        "name": draw(NAMES),
        "type": kind,
        "image": f"vllm/vllm-openai@sha256:{draw(st.integers(0, 9)):064d}",
        "gpu": draw(gpus()),
        "workers": workers,
        "scaling": scaling,
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "env": st.dictionaries(st.sampled_from("ABC"), NAMES, max_size=3),
        "ports": st.lists(st.sampled_from(["80/http", "8000/http", "22/tcp"]), unique=True),
        "args": NAMES,
        "dataCenterIds": st.lists(st.sampled_from(["EU-RO-1", "EU-CZ-1", "US-KS-2"]), unique=True),
        "timeout": st.integers(1, 10**6),
        "flashboot": st.sampled_from(["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"]),
        "disk": st.integers(1, 100),
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            inputs[name] = draw(values)
    return KIND.complete(with_defaults(KIND.fields, inputs))


@given(endpoints())
@settings(max_examples=25, deadline=None)
def test_every_endpoint_of_the_vendors_rules_passes_check(inputs: dict[str, Any]) -> None:
    assert list(validate(KIND.fields, inputs)) == []
    assert list(KIND.rules(inputs)) == []
    assert rules.endpoint(KIND.request(inputs), None)["timeout"] == inputs["timeout"], "the timeout is always sent"


@given(endpoints())
@settings(max_examples=30, deadline=None)
def test_every_request_fits_the_vendors_published_schema(inputs: dict[str, Any]) -> None:
    schemas = Schemas.load()
    if schemas is None:
        pytest.skip("the vendor's schemas are not in the cache: python -m headrace_sandbox.runpod.schema fetches them")
    assert schemas.request_errors("createEndpoint", KIND.request(inputs)) == []


@given(endpoints(), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_sets_is_no_difference(inputs: dict[str, Any], random: Any) -> None:
    shuffled = copy.deepcopy(inputs)
    for holder, name in (
        (shuffled["gpu"], "pools"),
        (shuffled["gpu"], "excludedTypes"),
        (shuffled, "ports"),
        (shuffled, "dataCenterIds"),
    ):
        if name in holder:
            random.shuffle(holder[name])
    shuffled["env"] = dict(reversed(list(shuffled.get("env", {}).items())))
    assume(inputs.get("env") or "env" not in inputs)
    if "env" not in inputs:
        del shuffled["env"]
    assert compare.changes(KIND.fields, inputs, shuffled) == {}


@given(st.sampled_from(["QUEUE", "LOAD_BALANCER"]).flatmap(lambda kind: st.tuples(endpoints(kind), endpoints(kind))))
@settings(max_examples=60, deadline=None)
def test_an_update_leads_from_any_endpoint_to_any_other_and_touches_only_what_differs(
    pair: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    old, new = pair
    changed = KIND.differ(old, new, compare.changes(KIND.fields, old, new))
    tops = {path.split(".")[0].split("[")[0] for path in changed}
    body = KIND.change(old, new, tops)
    assert set(body) <= tops
    if compare.changes(KIND.fields, old, new) == {}:
        assert body == {}
    live = {**rules.endpoint(KIND.request(old), None), "id": "e1", "createdAt": "now"}
    after = KIND.inputs_of(rules.changed_endpoint(live, body))
    kept = keep_equal(KIND.fields, new, after, {**KIND.inputs_of(live), **old})
    left = {path for path in compare.changes(KIND.fields, new, kept) if path != "disk"}
    assert left == set(), f"after the update {left} still differ"


@given(st.tuples(endpoints("QUEUE"), endpoints("QUEUE")))
@settings(max_examples=25, deadline=None)
def test_every_patch_fits_the_vendors_published_schema(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    schemas = Schemas.load()
    if schemas is None:
        pytest.skip("the vendor's schemas are not in the cache: python -m headrace_sandbox.runpod.schema fetches them")
    old, new = pair
    changed = KIND.differ(old, new, compare.changes(KIND.fields, old, new))
    body = KIND.change(old, new, {path.split(".")[0].split("[")[0] for path in changed})
    assert schemas.request_errors("updateEndpoint", body) == []


@given(endpoints(), st.data())
@settings(max_examples=25, deadline=None)
def test_an_unknown_input_is_trusted_by_check_and_shown_by_diff(inputs: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(set(inputs) - {"name"})))
    unknown = {**inputs, name: UNKNOWN}
    assert list(validate(KIND.fields, unknown)) == []
    assert list(KIND.rules(unknown)) == []
    assert name in compare.changes(KIND.fields, inputs, unknown)


@given(endpoints())
@settings(max_examples=25, deadline=None)
def test_values_survive_the_wire_with_secrets_and_unknowns(inputs: dict[str, Any]) -> None:
    props = {**inputs, "env": Secret({"A": UNKNOWN, "B": "b"}), "later": UNKNOWN}
    assert decode(encode(props)) == props


@given(st.integers(10, 4096), st.integers(10, 4096))
@settings(max_examples=25, deadline=None)
def test_a_volume_is_never_shrunk(before: int, after: int) -> None:
    place = {"name": "v", "dataCenter": "EU-RO-1"}
    failures = list(NetworkVolume().check_change({**place, "size": before}, {**place, "size": after}))
    assert bool(failures) == (after < before)


def base(**more: Any) -> dict[str, Any]:
    inputs = {
        "name": "chat",
        "type": "QUEUE",
        "image": "x@sha256:0",
        "gpu": {"pools": ["ADA_24"]},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        **more,
    }
    return KIND.complete(with_defaults(KIND.fields, inputs))


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        (
            {"gpu": {"pools": ["A"], "minCudaVersion": "12.1", "allowedCudaVersions": ["12.4"]}},
            "gpu.minCudaVersion",
            "not both",
        ),
        (
            {"scaling": {"type": "REQUEST_COUNT", "requestCount": 4}, "workers": {"idleTimeout": 5}},
            "workers.idleTimeout",
            "refuses",
        ),
        ({"type": "LOAD_BALANCER"}, "scaling.type", "no queue"),
        ({"scaling": {"type": "QUEUE_DELAY"}}, "scaling.queueDelay", "required"),
        ({"workers": {"min": 5, "max": 2}}, "workers.min", "more than workers.max"),
        ({"image": "vllm/vllm-openai:latest"}, "image", "by digest"),
    ],
)
def test_the_vendors_prose_rules_are_refused_at_preview(more: dict[str, Any], path: str, words: str) -> None:
    failures = {failure.path: failure.reason for failure in KIND.rules(base(**more))}
    assert words in failures.get(path, ""), failures


def test_a_misspelt_property_is_refused_with_the_known_ones() -> None:
    failures = list(validate(KIND.fields, base(wokers={})))
    assert [failure.path for failure in failures] == ["wokers"]
    assert "workers" in failures[0].reason


def test_the_name_belongs_to_the_urn_and_changes_with_what_needs_a_replacement() -> None:
    urn = "urn:pulumi:dev::inference::headrace:runpod:Endpoint::chat"
    name = KIND.generated_name(urn, base())
    assert name == KIND.generated_name(urn, {**base(), "timeout": 1, "name": name}), "an update keeps it"
    assert name != KIND.generated_name(urn, {**base(), "type": "LOAD_BALANCER"}), "a successor has another"
    assert name != KIND.generated_name(urn.replace("dev", "prod"), base())
