"""The controller acts on what it read, and removes nothing because of silence."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from headrace_sandbox.kubernetes.kube import Kube, KubeError
from headrace_sandbox.kubernetes.nodes import gpu
from headrace_sandbox.kubernetes.nodes.cloud import Cloud, Look
from headrace_sandbox.kubernetes.nodes.controller import NODES, Controller
from headrace_sandbox.kubernetes.nodes.records import DRAIN_ANNOTATION
from headrace_sandbox.kubernetes_provider.helm import RECORD_TYPE

from .groups import BORN, group

Object = dict[str, Any]


class FakeKube:
    """Objects by path, with the few behaviours of an API server that the controller leans on."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.refuse_evictions = False
        self.evicted: list[str] = []

    def items(self, path: str, **selectors: str) -> Iterator[Object]:
        node = selectors.get("fieldSelector", "").partition("spec.nodeName=")[2]
        for own, document in list(self.objects.items()):
            collection = own.rpartition("/")[0]
            if path == "/api/v1/pods":
                fits = "/pods/" in own and (not node or document["spec"].get("nodeName") == node)
            elif path == "/apis/apps/v1/daemonsets":
                fits = "/daemonsets/" in own
            else:
                fits = collection == path
            if fits:
                yield document

    def create(self, path: str, body: Mapping[str, Any], **_: str) -> Object:
        if path.endswith("/eviction"):
            if self.refuse_evictions:
                raise KubeError(429, "disruption budget")
            self.evicted.append(path)
            self.objects.pop(path.removesuffix("/eviction"), None)
            return {}
        document: Object = json.loads(json.dumps(body))
        document["metadata"].setdefault("creationTimestamp", BORN.isoformat())
        document.setdefault("status", {})["conditions"] = [{"type": "Ready", "status": "True"}]
        self.objects[f"{path}/{document['metadata']['name']}"] = document
        return document

    def merge(self, path: str, body: Mapping[str, Any]) -> Object:
        document = self.objects[path.removesuffix("/status")]
        _merge(document, body)
        return document

    def delete(self, path: str, *, grace_s: int | None = None) -> bool:
        return self.objects.pop(path, None) is not None

    def nodes(self) -> list[Object]:
        return [document for path, document in self.objects.items() if path.startswith(NODES)]


def _merge(target: Object, change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


class FakeCloud:
    """Looks that a test sets."""

    def __init__(self, look: Look) -> None:
        self.next = look
        self.watched: set[str] = set()

    def watch(self, regions: set[str]) -> None:
        self.watched |= regions

    def look(self) -> Look:
        return self.next


HERE = frozenset({"eu-central-1"})


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud(Look(groups=(group(),), regions=HERE))


@pytest.fixture
def controller(kube: FakeKube, cloud: FakeCloud) -> Controller:
    return Controller(kube=cast(Kube, kube), cloud=cast(Cloud, cloud))


def later(seconds: float) -> datetime.datetime:
    return BORN + datetime.timedelta(seconds=seconds)


def test_a_group_gets_its_nodes_once(controller: Controller, kube: FakeKube) -> None:
    controller.turn(BORN)
    first = [node["metadata"]["name"] for node in kube.nodes()]
    controller.turn(later(1))
    assert [node["metadata"]["name"] for node in kube.nodes()] == first
    assert len(first) == 2


def test_nodes_of_a_region_that_was_not_read_stay(controller: Controller, kube: FakeKube, cloud: FakeCloud) -> None:
    controller.turn(BORN)
    cloud.next = Look(groups=(), regions=frozenset({"us-east-1"}))
    controller.turn(later(1))
    controller.turn(later(60))
    assert len(kube.nodes()) == 2, "silence of a region is not the absence of its groups"
    assert cloud.watched == {"eu-central-1"}, "and its region is read from now on"


def test_nodes_of_a_group_that_cannot_be_served_stay(controller: Controller, kube: FakeKube, cloud: FakeCloud) -> None:
    controller.turn(BORN)
    cloud.next = Look(groups=(), unserved={group().arn: "its subnet is gone"}, regions=HERE)
    controller.turn(later(60))
    assert len(kube.nodes()) == 2
    assert controller.unserved == {group().arn: "its subnet is gone"}


def test_nodes_of_a_deleted_group_are_drained_and_go(controller: Controller, kube: FakeKube, cloud: FakeCloud) -> None:
    controller.turn(BORN)
    cloud.next = Look(groups=(), regions=HERE)
    controller.turn(later(1))
    controller.turn(later(2))
    assert kube.nodes() == []


def test_a_budget_delays_a_drain_and_the_time_limit_ends_it(
    controller: Controller, kube: FakeKube, cloud: FakeCloud
) -> None:
    controller.turn(BORN)
    name = kube.nodes()[0]["metadata"]["name"]
    path = "/api/v1/namespaces/ml/pods/model"
    kube.objects[path] = {"metadata": {"name": "model", "namespace": "ml"}, "spec": {"nodeName": name}}
    kube.refuse_evictions = True
    cloud.next = Look(groups=(), regions=HERE)
    controller.turn(later(1))
    controller.turn(later(10))
    (left,) = kube.nodes()
    assert left["metadata"]["name"] == name, "the other node had nothing to wait for"
    assert left["spec"]["unschedulable"] is True
    assert path in kube.objects
    controller.turn(later(17))
    assert kube.nodes() == []
    assert path not in kube.objects, "a machine that goes takes its pods"


def test_a_drain_evicts_where_it_may(controller: Controller, kube: FakeKube, cloud: FakeCloud) -> None:
    controller.turn(BORN)
    name = kube.nodes()[0]["metadata"]["name"]
    path = "/api/v1/namespaces/ml/pods/model"
    kube.objects[path] = {"metadata": {"name": "model", "namespace": "ml"}, "spec": {"nodeName": name}}
    cloud.next = Look(groups=(), regions=HERE)
    controller.turn(later(1))
    controller.turn(later(2))
    assert kube.evicted == [f"{path}/eviction"]
    assert kube.nodes() == []


def test_labels_that_a_group_drops_leave_its_nodes(controller: Controller, kube: FakeKube, cloud: FakeCloud) -> None:
    controller.turn(BORN)
    cloud.next = Look(groups=(dataclasses.replace(group(), labels=(("tier", "gold"),), taints=()),), regions=HERE)
    controller.turn(later(1))
    for node in kube.nodes():
        assert node["metadata"]["labels"]["tier"] == "gold"
        assert "pool" not in node["metadata"]["labels"]
        assert node["spec"]["taints"] == []
        assert DRAIN_ANNOTATION not in node["metadata"]["annotations"]


def record(chart: str, values: object = None) -> Object:
    release = json.dumps({"inputs": {"chart": chart, "values": values}, "revision": 1})
    return {
        "metadata": {"name": "r"},
        "type": RECORD_TYPE,
        "data": {"release": base64.b64encode(release.encode()).decode()},
    }


def test_a_recorded_chart_brings_the_plugin_unless_it_is_switched_off() -> None:
    assert gpu.RECORD_TYPE == RECORD_TYPE
    assert gpu.is_recorded_chart(record("nvidia-device-plugin"))
    assert gpu.is_recorded_chart(record("nvidia/gpu-operator", {"driver": {"enabled": False}}))
    assert not gpu.is_recorded_chart(record("gpu-operator", {"devicePlugin": {"enabled": False}}))
    assert not gpu.is_recorded_chart(record("dcgm-exporter"))
    assert not gpu.is_recorded_chart({"metadata": {}, "data": {}})


def test_gpus_are_offered_with_a_recorded_chart(controller: Controller, kube: FakeKube) -> None:
    controller.turn(BORN)
    assert controller.states[group().arn].health == ("no node offers GPUs: no device plugin runs on any of them",)
    kube.objects["/api/v1/secrets/r"] = record("nvidia-device-plugin")
    controller.turn(later(1))
    controller.turn(later(2))
    assert [node["status"]["allocatable"]["nvidia.com/gpu"] for node in kube.nodes()] == ["8", "8"]
    assert controller.states[group().arn].health == ()
