"""Modal's app: what it is deployed from, and how live values become inputs again."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.protocol.values import UNKNOWN
from headrace_components.modal.app import App, _inputs_of, deployment, owner_mark
from headrace_components.modal.client import Autoscaler, LiveApp, server, warm_up
from headrace_components.provider import compare
from headrace_components.provider.fields import validate, with_defaults
from headrace_components.provider.resource import keep_equal

KIND = App()
URN = "urn:pulumi:dev::inference::headrace:modal:App::chat"


def inputs(**more: Any) -> dict[str, Any]:
    return with_defaults(
        KIND.fields,
        {
            "name": "chat",
            "image": "x@sha256:0",
            "command": ["vllm", "serve"],
            "gpu": "L40S",
            "maxContainers": 4,
            **more,
        },
    )


def live_of(given: dict[str, Any]) -> LiveApp:
    """What the vendor would tell of an app that was deployed from these inputs."""
    wanted = deployment(URN, given)
    return LiveApp(
        app_id="ap-1",
        owner=wanted.owner,
        url="https://x.modal.run",
        image_id="im-1",
        gpus=tuple((one.rpartition(":")[0], int(one.rpartition(":")[2])) for one in wanted.gpus),
        regions=tuple(reversed(wanted.regions)),
        routing_region=wanted.routing_region,
        cloud=wanted.cloud,
        nonpreemptible=wanted.nonpreemptible,
        proxy_auth=wanted.proxy_auth,
        timeout=wanted.timeout,
        target_concurrency=wanted.target_concurrency,
        max_concurrency=wanted.max_concurrency,
        volumes={},
        autoscaler=wanted.autoscaler,
    )


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "gpuCount": st.integers(1, 8),
            "gpuFallbacks": st.lists(st.sampled_from(["H100!", "H200"]), unique=True),
            "minContainers": st.integers(0, 4),
            "bufferContainers": st.integers(0, 4),
            "scaledownWindow": st.integers(2, 3600),
            "targetConcurrency": st.integers(1, 64),
            "regions": st.lists(st.sampled_from(["eu", "us", "ap"]), unique=True),
            "routingRegion": st.sampled_from(["us-east", "eu-west"]),
            "proxyAuth": st.booleans(),
            "timeout": st.integers(1, 86400),
            "env": st.dictionaries(st.sampled_from("AB"), st.text(max_size=3)),
        },
    )
)
@settings(max_examples=100, deadline=None)
def test_what_was_deployed_reads_back_without_a_difference(more: dict[str, Any]) -> None:
    given_inputs = inputs(**more)
    assert list(validate(KIND.fields, given_inputs)) == []
    state = {**given_inputs, "imageId": "im-1"}
    seen = keep_equal(KIND.fields, given_inputs, _inputs_of("chat", live_of(given_inputs), state), state)
    left = set(compare.changes(KIND.fields, seen, given_inputs)) - {"maxConcurrency"}
    assert left == set()


def test_another_image_than_ours_is_drift() -> None:
    seen = _inputs_of("chat", live_of(inputs()), {**inputs(), "imageId": "im-other"})
    assert "image" in compare.changes(KIND.fields, seen, inputs())


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"minContainers": 5}, "minContainers"),
        ({"targetConcurrency": 9, "maxConcurrency": 8}, "targetConcurrency"),
        ({"gpu": "H100:2"}, "gpu"),
        ({"image": "vllm/vllm-openai:latest"}, "image"),
    ],
)
def test_the_sdks_rules_are_refused_at_preview(more: dict[str, Any], path: str) -> None:
    assert path in {failure.path for failure in KIND.rules(inputs(**more))}


@pytest.mark.parametrize("path", ["image", "gpu", "gpuFallbacks", "minContainers", "maxConcurrency"])
def test_an_unknown_input_waits_for_the_update(path: str) -> None:
    assert list(KIND.rules(inputs(**{path: UNKNOWN}))) == [], "a preview that can't know a value must not fail on it"


def test_an_app_of_a_secret_image_is_still_ours() -> None:
    """`headrace serverless status` reads a stack in which a secret value is not known."""
    live = live_of(inputs())
    assert _inputs_of("chat", live, {"image": UNKNOWN, "imageId": "im-1"})["image"] is UNKNOWN


def test_the_wrapper_is_by_value_and_holds_nothing_of_ours() -> None:
    wrapper = server(["vllm", "serve"])
    assert "<locals>" in wrapper.__qualname__, "a function that can't be imported is sent by value"
    assert wrapper.__closure__ is not None
    assert [cell.cell_contents for cell in wrapper.__closure__] == [["vllm", "serve"]]


def test_the_owner_is_the_urn_and_the_name_follows_the_routing_region() -> None:
    assert owner_mark(URN) != owner_mark(URN + "x")
    assert KIND.generated_name(URN, inputs()) != KIND.generated_name(URN, inputs(routingRegion="eu-west"))
    assert KIND.generated_name(URN, inputs()) == KIND.generated_name(URN, inputs(timeout=5))


def test_only_the_autoscaler_changes_without_a_deployment() -> None:
    assert deployment(URN, inputs(minContainers=2)).autoscaler == Autoscaler(
        min_containers=2, max_containers=4, buffer_containers=0, scaledown_window=60
    )


def test_the_timer_keeps_a_window_warm_that_is_shorter_than_the_lead_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    autoscaler = SimpleNamespace(
        settings=lambda: SimpleNamespace(min_containers=0), update=lambda min_containers: asked.append(min_containers)
    )
    found = SimpleNamespace(from_name=lambda *_, **__: SimpleNamespace(autoscaler=autoscaler))
    monkeypatch.setitem(sys.modules, "modal", SimpleNamespace(Function=found))
    soon = datetime.now(UTC) + timedelta(hours=1)
    least = Autoscaler(min_containers=0, max_containers=4, buffer_containers=0, scaledown_window=60)
    windows = [{"hours": [soon.weekday() * 24 + soon.hour], "minInstances": 2, "timeZone": "UTC"}]
    warm_up("app", "serve", None, windows, least, 9000)()
    assert asked == [2], "the window lies between now and the end of the lead time"
