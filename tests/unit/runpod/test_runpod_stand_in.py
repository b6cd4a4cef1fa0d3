"""The stand-in's rules, held against the vendor's own schemas where they are in the cache."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from headrace_sandbox.runpod import rules
from headrace_sandbox.runpod.faults import Fault, Faults, Order
from headrace_sandbox.runpod.schema import Schemas, difference

ENDPOINT = {
    "name": "chat",
    "type": "QUEUE",
    "image": "x@sha256:0",
    "gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA L4"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
}


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    loaded = Schemas.load()
    if loaded is None:
        pytest.skip("the vendor's schemas are not in the cache: python -m headrace_sandbox.runpod.schema fetches them")
    return loaded


def made(**more: Any) -> dict[str, Any]:
    return {**rules.endpoint({**ENDPOINT, **more}, None), "id": "e1", "createdAt": "2026-11-21T00:00:00Z"}


def test_its_own_answers_fit_the_vendors_schema(schemas: Schemas) -> None:
    assert schemas.response_errors("createEndpoint", made()) == []
    template = {**rules.template({"name": "t", "image": "x@sha256:0"}), "id": "t1"}
    assert schemas.response_errors("createTemplate", template) == []
    volume = {**rules.volume({"name": "v", "size": 10, "dataCenter": "EU-RO-1"}), "id": "v1"}
    assert schemas.response_errors("createNetworkVolume", volume) == []
    assert schemas.response_errors("createRegistry", {"id": "r1", "name": "r"}) == []


def test_a_wrong_answer_of_its_own_would_be_found(schemas: Schemas) -> None:
    assert schemas.response_errors("createEndpoint", {**made(), "workers": {"min": -1}})
    without = made()
    del without["createdAt"]
    assert schemas.response_errors("createEndpoint", without) == ["createdAt: is required in an answer"]


def test_misspelt_and_out_of_range_requests_are_refused_as_the_vendor_does(schemas: Schemas) -> None:
    assert schemas.request_errors("createEndpoint", ENDPOINT) == []
    assert schemas.request_errors("updateEndpoint", {"workersMax": 3})
    assert schemas.request_errors("updateEndpoint", {"workers": {"idleTimeout": 99999}})
    assert schemas.request_errors("updateEndpoint", {"gpu": {"excludedTypes": ["NVIDIA L4"]}}), "needs pools beside it"


def test_the_weekly_comparison_sees_a_changed_request_and_no_changed_prose(schemas: Schemas) -> None:
    assert difference(schemas, schemas) == []
    newer = Schemas("next", copy.deepcopy(schemas.operations))
    body = newer.operations["createNetworkVolume"]["inputSchema"]["$defs"]["CreateNetworkVolumeRequest"]
    body["properties"]["size"]["description"] = "other words"
    assert difference(schemas, newer) == []
    body["properties"]["size"]["maximum"] = 8192
    del newer.operations["deleteTemplate"]
    assert difference(schemas, newer) == ["createNetworkVolume: its request changed", "deleteTemplate: is gone"]


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"gpu": {"pools": ["A"], "minCudaVersion": "12.1", "allowedCudaVersions": ["12.4"]}}, 400),
        ({"scaling": {"type": "REQUEST_COUNT", "requestCount": 1}, "workers": {"idleTimeout": 5}}, 422),
        ({"type": "LOAD_BALANCER"}, 422),
    ],
)
def test_the_vendors_prose_rules_hold(more: dict[str, Any], status: int) -> None:
    with pytest.raises(rules.Problem) as problem:
        made(**more)
    assert problem.value.status == status


def test_a_patch_of_pools_without_exclusions_clears_them_and_one_bound_does_not_clear_the_other() -> None:
    old = made()
    assert rules.changed_endpoint(old, {"gpu": {"pools": ["ADA_24"]}})["gpu"]["excludedTypes"] == []
    assert rules.changed_endpoint(old, {"gpu": {"count": 2}})["gpu"]["excludedTypes"] == ["NVIDIA L4"]
    bound = rules.changed_endpoint(old, {"gpu": {"minCudaVersion": "12.1"}})
    with pytest.raises(rules.Problem):
        rules.changed_endpoint(bound, {"gpu": {"allowedCudaVersions": ["12.4"]}})


def test_a_left_out_timeout_is_zero_as_observed() -> None:
    assert made()["timeout"] == 0


def test_faults_hit_as_often_as_ordered_and_every_call_is_counted() -> None:
    faults = Faults([Order(Fault.ERROR, "POST", "/v2/serverless", 1)])
    assert faults.take("GET", "/v2/serverless", "/v2/serverless") is None
    assert faults.take("POST", "/v2/serverless", "/v2/serverless") is not None
    assert faults.take("POST", "/v2/serverless", "/v2/serverless") is None
    assert faults.calls == {"GET /v2/serverless": 1, "POST /v2/serverless": 2}
