"""Nodes of a pool: launch template and node group settings as plain values, decided by tables rather than branches."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any, Final

from headrace.catalog.schema import InstanceType
from headrace.errors import refuse
from headrace.settings.dedicated import Capacity, CapacityType, NodeImage

# gp3 below 600 MiB/s makes image pulls the slowest part of a node's start (amazon-eks-ami, nodeadm examples). gp3
# allows 0.25 MiB/s per provisioned IOPS, so 600 MiB/s fits into its 3,000 baseline.
VOLUME_THROUGHPUT_MIBPS: Final = 600
VOLUME_IOPS: Final = 3000
# One hop: a container can't reach the node's credentials through its own network namespace; pods use Pod Identity.
IMDS_HOP_LIMIT: Final = 1


@dataclass(frozen=True, kw_only=True)
class Image:
    """What EKS and EC2 call a node image."""

    ami_type: str
    volume_devices: tuple[str, ...]
    builtin_device_plugin: bool
    nodeadm: bool


IMAGES: Final[Mapping[NodeImage, Image]] = {
    NodeImage.AL2023_NVIDIA: Image(
        ami_type="AL2023_x86_64_NVIDIA", volume_devices=("/dev/xvda",), builtin_device_plugin=False, nodeadm=True
    ),
    # Bottlerocket keeps its system on the first volume and images and pods on the second.
    NodeImage.BOTTLEROCKET_NVIDIA: Image(
        ami_type="BOTTLEROCKET_x86_64_NVIDIA",
        volume_devices=("/dev/xvda", "/dev/xvdb"),
        builtin_device_plugin=True,
        nodeadm=False,
    ),
}
BOTTLEROCKET_SYSTEM_GIB: Final = 4

SYSTEM_IMAGE: Final = Image(
    ami_type="AL2023_x86_64_STANDARD", volume_devices=("/dev/xvda",), builtin_device_plugin=False, nodeadm=True
)
SYSTEM_VOLUME_GIB: Final = 80

EKS_CAPACITY_TYPE: Final[Mapping[CapacityType, str]] = {
    CapacityType.ON_DEMAND: "ON_DEMAND",
    CapacityType.RESERVATION: "ON_DEMAND",
    CapacityType.CAPACITY_BLOCK: "CAPACITY_BLOCK",
}


def pool_zones(
    pool: str, capacity: Capacity, wanted: Sequence[str] | None, available: Sequence[str]
) -> tuple[str, ...]:
    """The zones of a pool. A reservation or a capacity block lives in exactly one, and EKS takes only its subnet."""
    path = f"dedicatedPools.{pool}"
    zones = tuple(wanted) if wanted is not None else tuple(available)
    if capacity.type is not CapacityType.ON_DEMAND:
        if capacity.reservation_id is None or capacity.zone is None:
            raise refuse(
                f"{path}.capacity",
                capacity.type.value,
                "must name `reservationId` and its `zone`",
                reason="machines start only against that reservation, and it is in one zone",
                next_step="copy both from `aws ec2 describe-capacity-reservations`",
            )
        if wanted is not None and zones != (capacity.zone,):
            raise refuse(
                f"{path}.zones",
                list(zones),
                f"must be [{capacity.zone}] or left out",
                reason=f"the {capacity.type.value} {capacity.reservation_id} is in {capacity.zone} alone",
                next_step="remove `zones`",
            )
        zones = (capacity.zone,)
    missing = [zone for zone in zones if zone not in available]
    if missing or not zones:
        raise refuse(
            f"{path}.zones",
            missing or list(zones),
            f"must be among the network's zones ({', '.join(available)})",
            reason="the pool's nodes need a private subnet there",
            next_step="add the zone to `network.zones`, or choose another",
        )
    return zones


def block_devices(image: Image, volume_gib: int) -> list[dict[str, Any]]:
    """Encrypted gp3 volumes. The last device holds images and pods and gets the size."""
    return [
        {
            "device_name": device,
            "ebs": {
                "volume_size": volume_gib if index == len(image.volume_devices) - 1 else BOTTLEROCKET_SYSTEM_GIB,
                "volume_type": "gp3",
                "iops": VOLUME_IOPS,
                "throughput": VOLUME_THROUGHPUT_MIBPS,
                "encrypted": "true",
                "delete_on_termination": "true",
            },
        }
        for index, device in enumerate(image.volume_devices)
    ]


def metadata_options() -> dict[str, Any]:
    """IMDSv2 only, one hop, no tags in the metadata."""
    return {
        "http_endpoint": "enabled",
        "http_tokens": "required",
        "http_put_response_hop_limit": IMDS_HOP_LIMIT,
        "instance_metadata_tags": "disabled",
    }


def efa_interfaces(instance: InstanceType) -> list[dict[str, Any]]:
    """Network interfaces of a type with EFA: one per network card. The first carries IP traffic as well; the others
    are EFA alone (`efa-only`), which spares an address per interface on types that have many. No public address: AWS
    refuses the question for more than one interface, and the private subnets map none."""
    return [
        {
            "device_index": 0 if card == 0 else 1,
            "network_card_index": card,
            "interface_type": "efa" if card == 0 else "efa-only",
            "delete_on_termination": "true",
        }
        for card in range(instance.efa_interfaces)
    ]


def replaceable_name(base: str, instance_type: str, zones: Sequence[str]) -> str:
    """Name of a node group whose pods serve everybody. EKS changes neither machines nor subnets of a group; with the
    same name the old group would have to go first, and its pods would have no node until the new one is up. A name of
    what can't be changed lets the new group come first, and the old one be drained."""
    what = "\0".join((instance_type, *sorted(zones)))
    return f"{base}-{hashlib.sha256(what.encode()).hexdigest()[:6]}"


def market(capacity: Capacity) -> dict[str, Any]:
    """Launch template parts that bind machines to a reservation or a capacity block; nothing for on-demand."""
    if capacity.type is CapacityType.ON_DEMAND:
        return {}
    target = {"capacity_reservation_target": {"capacity_reservation_id": capacity.reservation_id}}
    if capacity.type is CapacityType.RESERVATION:
        return {"capacity_reservation_specification": target}
    return {
        "instance_market_options": {"market_type": "capacity-block"},
        "capacity_reservation_specification": target,
    }


def tag_specifications(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """EKS doesn't hand a node group's tags down to machines and volumes, where the cost is; the template does."""
    return [{"resource_type": resource, "tags": dict(tags)} for resource in ("instance", "volume", "network-interface")]


def launch_template(image: Image, volume_gib: int, tags: Mapping[str, str]) -> dict[str, Any]:
    """What every launch template of ours says, whatever the machine."""
    return {
        "update_default_version": True,
        "ebs_optimized": "true",
        "block_device_mappings": block_devices(image, volume_gib),
        "metadata_options": metadata_options(),
        "monitoring": {"enabled": True},
        "tag_specifications": tag_specifications(tags),
    }


NODE_CONFIG: Final = """\
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  instance:
    localStorage:
      strategy: RAID0
"""


def user_data(image: Image, nvme_gb: int) -> str | None:
    """nodeadm configuration that puts images, pods and their scratch space (so the model's weights) on the machine's
    own NVMe disks. None where the image isn't nodeadm's or the machine has no such disk. The boundary is fixed, because
    a random one would be a change at every preview."""
    if not image.nodeadm or not nvme_gb:
        return None
    message = MIMEMultipart(boundary="HEADRACE")
    part = MIMEText(NODE_CONFIG, "plain", "us-ascii")
    part.replace_header("Content-Type", "application/node.eks.aws")
    message.attach(part)
    return message.as_string()


def labels(pool: str, workload: str, environment: str, instance: InstanceType, capacity: Capacity) -> dict[str, str]:
    """Node labels that pods, quotas and dashboards select by."""
    return {
        "headrace.dev/pool": pool,
        "headrace.dev/tier": "floor",
        "headrace.dev/workload": workload,
        "headrace.dev/environment": environment,
        "headrace.dev/gpu": instance.gpu,
        "headrace.dev/capacity": capacity.type.value,
        **({"headrace.dev/reservation": capacity.reservation_id} if capacity.reservation_id else {}),
    }


GPU_TAINT: Final[Mapping[str, str]] = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}


def base64_text(text: str) -> str:
    """Text as launch templates take it."""
    return base64.b64encode(text.encode()).decode()
