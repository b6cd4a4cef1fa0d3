"""The volume driver and the service controller that the sandbox plays: what they would make of what is asked for."""

from __future__ import annotations

from typing import Any, cast

from headrace_sandbox.kubernetes.kube import Kube
from headrace_sandbox.kubernetes.nodes import balancers, volumes

CLASSES: dict[str, dict[str, Any]] = {
    "fast": {"metadata": {"name": "fast"}, "provisioner": volumes.DRIVER, "reclaimPolicy": "Retain"}
}
ZONES = {"node-a": "eu-central-1a", "node-b": "eu-central-1b"}


def claim(name: str = "journal-router-0", *, node: str | None = "node-b", **spec: Any) -> dict[str, Any]:
    annotations = {volumes.SELECTED_NODE: node} if node else {}
    wanted = {"storageClassName": "fast", "accessModes": ["ReadWriteOncePod"], "volumeMode": "Filesystem", **spec}
    return {
        "metadata": {"name": name, "namespace": "router", "uid": f"uid-{name}", "annotations": annotations},
        "spec": {"resources": {"requests": {"storage": "5Gi"}}, **wanted},
    }


def test_a_claim_gets_a_volume_in_the_zone_of_its_pods_node() -> None:
    (volume,) = volumes.wanted([claim()], CLASSES, ZONES)
    term = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert (term["key"], term["values"]) == (volumes.ZONE, ["eu-central-1b"])
    assert volume["spec"]["capacity"] == {"storage": "5Gi"}
    assert volume["spec"]["claimRef"]["uid"] == "uid-journal-router-0", "no other claim of that name may take it"
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["csi"]["volumeHandle"].startswith("vol-0")
    (again,) = volumes.wanted([claim()], CLASSES, ZONES)
    assert again == volume, "a driver that is killed in between makes the same one"


def test_claims_that_are_not_ours_or_not_due_get_none() -> None:
    others = [
        claim(node=None),  # no pod waits for it yet
        claim(node="gone"),
        claim(storageClassName="other"),
        claim(storageClassName=None),
        claim(volumeName="pvc-1"),  # has one
    ]
    assert list(volumes.wanted(others, CLASSES, ZONES)) == []


def made(phase: str, policy: str, driver: str = volumes.DRIVER) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{phase}-{policy}-{driver}", "annotations": {volumes.PROVISIONED_BY: driver}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }


def test_only_released_volumes_that_do_not_outlive_their_claim_are_removed() -> None:
    every = [
        made("Released", "Delete"),
        made("Released", "Retain"),
        made("Bound", "Delete"),
        made("Released", "Delete", driver="efs.csi.aws.com"),
    ]
    assert list(volumes.released(every)) == [f"Released-Delete-{volumes.DRIVER}"]


class Server:
    """An API server of plain lists."""

    def __init__(self, **listed: list[dict[str, Any]]) -> None:
        self.listed = listed
        self.deleted: list[str] = []

    def items(self, path: str) -> list[dict[str, Any]]:
        return self.listed.get(path.rsplit("/", 1)[-1], [])

    def delete(self, path: str) -> bool:
        self.deleted.append(path)
        return True


def test_a_volume_goes_with_its_claim_also_when_its_class_went_first() -> None:
    server = Server(persistentvolumes=[made("Released", "Delete")])
    volumes.turn(cast("Kube", server), ZONES)
    assert server.deleted == [f"/api/v1/persistentvolumes/Released-Delete-{volumes.DRIVER}"]


def test_a_balancer_is_what_the_annotations_say() -> None:
    said = {
        f"{balancers.PREFIX}-internal": "true",
        f"{balancers.PREFIX}-subnets": "subnet-1,subnet-2",
        f"{balancers.PREFIX}-additional-resource-tags": "a=1,b=2",
    }
    service = {"metadata": {"name": "s", "namespace": "n", "uid": "u", "annotations": said}}
    wish = balancers.wish(service)
    assert (wish.scheme, wish.subnets) == ("internal", ("subnet-1", "subnet-2"))
    assert wish.tags == {"a": "1", "b": "2", "kubernetes.io/service-name": "n/s"}
    assert len(wish.name) <= 32, "AWS allows a load balancer 32 characters"
    plain = {"metadata": {"name": "s", "namespace": "n", "uid": "u"}}
    assert balancers.wish(plain).scheme == "internet-facing", "as the service controller does where nothing is said"
