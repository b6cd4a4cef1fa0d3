"""Read node groups from the AWS stand-in."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from botocore.exceptions import ClientError

from headrace.catalog import load
from headrace_sandbox.kubernetes.aws_clients import AwsClients
from headrace_sandbox.kubernetes.nodes import machines
from headrace_sandbox.kubernetes.nodes.records import Group, Machine, Subnet, Taint

log = logging.getLogger(__name__)

EFFECTS: Final[Mapping[str, str]] = {
    "NO_SCHEDULE": "NoSchedule",
    "NO_EXECUTE": "NoExecute",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
}
_DEFAULT_TYPE: Final = "t3.medium"  # EKS API reference, CreateNodegroup.instanceTypes
_DEFAULT_DISK_GIB: Final = 20  # EKS API reference, CreateNodegroup.diskSize
_DELETING: Final = frozenset({"DELETING"})
_IDLE_REGIONS_PER_LOOK: Final = 1
_FULL_LOOKS: Final = 3  # a call is counted before its cluster is stored, so one full look could come too early


class Unserved(Exception):
    """A node group that can't be simulated, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at the cloud. Nodes of `unserved` groups (ARN -> why) stay as they are."""

    groups: tuple[Group, ...]
    unserved: Mapping[str, str] = field(default_factory=dict)
    regions: frozenset[str] = frozenset()
    """The regions that were read whole; an ARN of one of them that is in no group is gone."""


class Cloud:
    """Reads all node groups. Regions with clusters are read at every look; the others in turn, and all of them when the
    stand-in's count of CreateCluster calls has changed."""

    def __init__(self, aws_url: str) -> None:
        self._aws = AwsClients(aws_url)
        self._counter = httpx.Client(base_url=aws_url, timeout=5.0, trust_env=False)
        self._created = -1
        self._full_looks = 0
        self._busy: set[str] = set()
        self._idle: list[str] = sorted(load.aws_regions())
        self._machines: dict[str, Machine] = {}
        self._subnets: dict[str, Subnet] = {}
        self._templates: dict[tuple[str, str], Mapping[str, Any]] = {}

    def watch(self, regions: Iterable[str]) -> None:
        """Read these regions at every look as well: nodes of theirs exist."""
        self._busy |= set(regions)

    def look(self) -> Look:
        """Read the cloud; raises botocore's errors when it can't be read."""
        turn = self._turn()
        groups: list[Group] = []
        unserved: dict[str, str] = {}
        regions = self._busy | set(turn)
        for region in sorted(regions):
            for cluster, described in self._described(region):
                try:
                    groups.append(self._group(region, cluster, described))
                except Unserved as reason:
                    unserved[described["nodegroupArn"]] = str(reason)
        return Look(groups=tuple(groups), unserved=unserved, regions=frozenset(regions))

    def _turn(self) -> list[str]:
        """The regions to read beside the busy ones."""
        created = self._clusters_created()
        if created != self._created:
            self._created, self._full_looks = created, _FULL_LOOKS
        if self._full_looks > 0:
            self._full_looks -= 1
            return self._idle
        turn, self._idle = self._idle[:_IDLE_REGIONS_PER_LOOK], self._idle[_IDLE_REGIONS_PER_LOOK:]
        self._idle = [*self._idle, *turn]
        return turn

    def _clusters_created(self) -> int:
        """How often CreateCluster was called; the last known number where the stand-in doesn't say."""
        try:
            answer = self._counter.get("/_sandbox/calls")
            return int(answer.json().get("eks:CreateCluster", 0)) if answer.is_success else self._created
        except (httpx.HTTPError, ValueError):
            return self._created

    def _described(self, region: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        eks = self._aws.client("eks", region)
        for clusters in eks.get_paginator("list_clusters").paginate():
            for cluster in clusters["clusters"]:
                self._busy.add(region)  # from now on at every look: its node groups come soon
                try:
                    for page in eks.get_paginator("list_nodegroups").paginate(clusterName=cluster):
                        for name in page["nodegroups"]:
                            answer = eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)
                            yield cluster, answer["nodegroup"]
                except eks.exceptions.ResourceNotFoundException:
                    continue  # went between two calls; the next look sees it gone

    def _group(self, region: str, cluster: str, described: Mapping[str, Any]) -> Group:
        template = self._launch_template(region, described.get("launchTemplate") or {})
        types = described.get("instanceTypes") or []
        # On-demand groups take the types in the order given, and the simulation always has the first in stock.
        machine_name = types[0] if types else template.get("InstanceType") or _DEFAULT_TYPE
        scaling = described.get("scalingConfig") or {}
        deleting = described.get("status") in _DELETING
        return Group(
            region=region,
            cluster=cluster,
            name=described["nodegroupName"],
            arn=described["nodegroupArn"],
            desired=0 if deleting else scaling.get("desiredSize", 0),
            machine=self._machine(region, machine_name),
            capacity_type=described.get("capacityType") or "ON_DEMAND",
            ami_type=described.get("amiType") or "",
            kubernetes=described.get("version") or "",
            release=described.get("releaseVersion") or "",
            launch_template=launch_template_name(described.get("launchTemplate") or {}),
            disk_gib=described.get("diskSize") or root_volume_gib(template),
            labels=tuple(sorted((described.get("labels") or {}).items())),
            taints=tuple(
                Taint(key=taint["key"], value=taint.get("value") or "", effect=EFFECTS[taint["effect"]])
                for taint in described.get("taints") or ()
            ),
            subnets=tuple(self._subnet(region, one) for one in described.get("subnets") or ()),
        )

    def _machine(self, region: str, name: str) -> Machine:
        found = self._machines.get(name) or machines.from_catalog(name)
        if found is None:
            try:
                answer = self._aws.client("ec2", region).describe_instance_types(InstanceTypes=[name])
            except ClientError as error:
                raise Unserved(f"nobody here knows the instance type {name}: {error}") from error
            if not answer["InstanceTypes"]:
                raise Unserved(f"nobody here knows the instance type {name}")
            found = machines.from_ec2(answer["InstanceTypes"][0])
        return self._machines.setdefault(name, found)

    def _subnet(self, region: str, subnet_id: str) -> Subnet:
        if subnet_id not in self._subnets:
            try:
                answer = self._aws.client("ec2", region).describe_subnets(SubnetIds=[subnet_id])
            except ClientError as error:
                raise Unserved(f"subnet {subnet_id} of the node group is gone: {error}") from error
            described = answer["Subnets"][0]
            self._subnets[subnet_id] = Subnet(
                id=subnet_id,
                zone=described["AvailabilityZone"],
                cidr=ipaddress.IPv4Network(described["CidrBlock"]),
            )
        return self._subnets[subnet_id]

    def _launch_template(self, region: str, reference: Mapping[str, Any]) -> Mapping[str, Any]:
        """The data of a launch template's version; versions never change, so each is read once."""
        if not reference:
            return {}
        identifier, version = (
            reference.get("id") or reference.get("name") or "",
            str(reference.get("version") or "$Default"),
        )
        if version.startswith("$") or (identifier, version) not in self._templates:
            which = {"LaunchTemplateId": reference["id"]} if reference.get("id") else {"LaunchTemplateName": identifier}
            try:
                answer = self._aws.client("ec2", region).describe_launch_template_versions(Versions=[version], **which)
            except ClientError as error:
                raise Unserved(f"launch template {identifier} version {version} is gone: {error}") from error
            self._templates[identifier, version] = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
        return self._templates[identifier, version]


def launch_template_name(reference: Mapping[str, Any]) -> str:
    """`<id>:<version>`, empty without a launch template."""
    return f"{reference.get('id') or reference.get('name')}:{reference.get('version')}" if reference else ""


def root_volume_gib(template: Mapping[str, Any]) -> int:
    """Size of the largest volume of a launch template, EKS's default without one."""
    mappings = template.get("BlockDeviceMappings") or ()
    return max((one.get("Ebs", {}).get("VolumeSize") or 0 for one in mappings), default=0) or _DEFAULT_DISK_GIB
