"""The EBS volume driver of the sandbox: a volume for each claim that a pod waits for, in the zone of its node.

It plays `ebs.csi.aws.com` as far as the API server sees it: the scheduler names a node on the claim, the driver makes a
PersistentVolume bound to it, and takes it away when its claim is gone and the class says so. No disk is behind it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from headrace_sandbox.kubernetes.kube import Kube, KubeError

log = logging.getLogger(__name__)

DRIVER: Final = "ebs.csi.aws.com"
ZONE: Final = "topology.kubernetes.io/zone"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
_CLASSES: Final = "/apis/storage.k8s.io/v1/storageclasses"
_CLAIMS: Final = "/api/v1/persistentvolumeclaims"
_VOLUMES: Final = "/api/v1/persistentvolumes"
_CONFLICT: Final = 409


def turn(kube: Kube, zones: Mapping[str, str]) -> None:
    """One pass. `zones`: node -> zone."""
    classes = {one["metadata"]["name"]: one for one in kube.items(_CLASSES) if one["provisioner"] == DRIVER}
    for volume in wanted(kube.items(_CLAIMS) if classes else (), classes, zones):
        try:
            kube.create(_VOLUMES, volume)
        except KubeError as error:
            if error.status != _CONFLICT:
                raise
        else:
            log.info("made %s for %s", volume["metadata"]["name"], volume["spec"]["claimRef"]["name"])
    # Also where the class is gone: a volume says for itself what becomes of it.
    for name in released(kube.items(_VOLUMES)):
        kube.delete(f"{_VOLUMES}/{name}")
        log.info("removed %s", name)


def wanted(
    claims: Iterable[Mapping[str, Any]], classes: Mapping[str, Mapping[str, Any]], zones: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The volumes that are missing: of claims of our classes that the scheduler has given a node."""
    for claim in claims:
        metadata, spec = claim["metadata"], claim["spec"]
        found = classes.get(spec.get("storageClassName") or "")
        zone = zones.get((metadata.get("annotations") or {}).get(SELECTED_NODE, ""))
        if found is not None and zone is not None and not spec.get("volumeName"):
            yield _volume(claim, found, zone)


def _volume(claim: Mapping[str, Any], storage: Mapping[str, Any], zone: str) -> dict[str, Any]:
    metadata, spec = claim["metadata"], claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {PROVISIONED_BY: DRIVER}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "csi": {
                "driver": DRIVER,
                "fsType": "ext4",
                # 17 hexadecimal digits, as EC2 makes ids since 2018; the same at every try.
                "volumeHandle": f"vol-0{hashlib.sha256(metadata['uid'].encode()).hexdigest()[:16]}",
                "volumeAttributes": {"storage.kubernetes.io/csiProvisionerIdentity": "sandbox"},
            },
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}]
                }
            },
            "persistentVolumeReclaimPolicy": storage.get("reclaimPolicy") or "Delete",
            "storageClassName": storage["metadata"]["name"],
            "volumeMode": spec.get("volumeMode") or "Filesystem",
        },
    }


def released(volumes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Volumes of ours whose claim is gone and that don't outlive it."""
    for volume in volumes:
        ours = (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) == DRIVER
        goes = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        if ours and goes and (volume.get("status") or {}).get("phase") == "Released":
            yield volume["metadata"]["name"]
