"""The loop: look at the cloud and at the API server, act, wait."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from headrace_sandbox.kubernetes.kube import Kube, KubeError
from headrace_sandbox.kubernetes.nodes import gpu, manifest, volumes
from headrace_sandbox.kubernetes.nodes.balancers import Balancers
from headrace_sandbox.kubernetes.nodes.cloud import Cloud
from headrace_sandbox.kubernetes.nodes.objects import node_of
from headrace_sandbox.kubernetes.nodes.plan import Create, Drain, Relabel, plan
from headrace_sandbox.kubernetes.nodes.records import (
    DRAIN_ANNOTATION,
    KEYS_ANNOTATION,
    Group,
    Node,
)

log = logging.getLogger(__name__)

DRAIN_S: Final = 15.0
"""How long evictions may be refused by a disruption budget before the machine goes anyway. On EKS it is 15 minutes
(EKS user guide, "Understand each phase of node updates"), which nobody waits for in a sandbox."""

NODES: Final = "/api/v1/nodes"


@dataclass(frozen=True, kw_only=True)
class GroupState:
    """One row of the status page."""

    cluster: str
    region: str
    desired: int
    nodes: int
    ready: int
    health: tuple[str, ...] = ()


@dataclass
class Controller:
    """Makes the nodes follow the groups, one pass at a time."""

    kube: Kube
    cloud: Cloud
    balancers: Balancers | None = None
    drain_s: float = DRAIN_S
    states: dict[str, GroupState] = field(default_factory=dict)
    unserved: dict[str, str] = field(default_factory=dict)

    def turn(self, now: datetime.datetime) -> None:
        """One pass. Raises botocore's errors or `KubeError` when a side can't be read; nothing is removed then."""
        nodes = self._nodes()
        self.cloud.watch({_region(node.group_arn) for node in nodes})
        look = self.cloud.look()
        taken = {node.address for node in nodes}
        for group in look.groups:
            own = [node for node in nodes if node.group_arn == group.arn]
            taken |= self._follow(group, own, taken, now)
        self._drop_orphans(nodes, {*(group.arn for group in look.groups), *look.unserved}, look.regions, now)
        nodes = self._nodes()
        self._finish_drains(nodes, now)
        self._advertise(nodes, look.groups)
        self._report(nodes, look.groups, look.unserved)
        volumes.turn(self.kube, {node.name: node.zone for node in nodes})
        if self.balancers is not None:
            self.balancers.turn(frozenset(_region(node.group_arn) for node in nodes))

    def _nodes(self) -> list[Node]:
        documents = self.kube.items(NODES)
        return [node for document in documents if (node := node_of(document)) is not None]

    def _follow(
        self, group: Group, own: Sequence[Node], taken: set[ipaddress.IPv4Address], now: datetime.datetime
    ) -> set[ipaddress.IPv4Address]:
        added = set()
        for action in plan(group, own, taken):
            match action:
                case Create():
                    self._create(group, action)
                    added.add(action.address)
                case Relabel():
                    self._relabel(group, action.node)
                case Drain():
                    self._start_drain(action.node, action.reason, now)
        return added

    def _create(self, group: Group, action: Create) -> None:
        # 17 hexadecimal digits, as EC2 makes ids since 2018.
        document = manifest.node(group, action.subnet, action.address, f"i-0{secrets.token_hex(8)}")
        self.kube.create(NODES, document)
        log.info("%s/%s: added %s in %s", group.cluster, group.name, document["metadata"]["name"], action.subnet.zone)

    def _relabel(self, group: Group, node: Node) -> None:
        wanted = dict(group.labels)
        dropped: dict[str, None] = {key: None for key in node.group_keys if key not in wanted}
        kept = [taint for taint in node.taints if taint.key.startswith("node.kubernetes.io/")]
        keys = ",".join(sorted(wanted))
        self.kube.merge(
            f"{NODES}/{node.name}",
            {
                "metadata": {"labels": {**dropped, **wanted}, "annotations": {KEYS_ANNOTATION: keys}},
                "spec": {"taints": manifest.taints((*kept, *group.taints))},
            },
        )
        log.info("%s/%s: labels and taints of %s follow", group.cluster, group.name, node.name)

    def _start_drain(self, node: Node, reason: str, now: datetime.datetime) -> None:
        self.kube.merge(
            f"{NODES}/{node.name}",
            {"metadata": {"annotations": {DRAIN_ANNOTATION: now.isoformat()}}, "spec": {"unschedulable": True}},
        )
        log.info("draining %s: %s", node.name, reason)

    def _drop_orphans(
        self, nodes: Sequence[Node], known: set[str], regions: frozenset[str], now: datetime.datetime
    ) -> None:
        """Nodes of groups that are gone. Only where the group's region was read: silence is not absence."""
        for node in nodes:
            gone = node.group_arn not in known and _region(node.group_arn) in regions
            if gone and node.draining_since is None:
                self._start_drain(node, "its node group is gone", now)

    def _finish_drains(self, nodes: Sequence[Node], now: datetime.datetime) -> None:
        for node in nodes:
            if node.draining_since is not None:
                forced = (now - node.draining_since).total_seconds() >= self.drain_s
                if self._drained(node, forced=forced):
                    self.kube.delete(f"{NODES}/{node.name}")
                    log.info("removed %s", node.name)

    def _drained(self, node: Node, *, forced: bool) -> bool:
        """Evict what still runs; True when only DaemonSet pods are left. `forced`: delete instead of asking."""
        empty = True
        for pod in self.kube.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node.name}"):
            metadata = pod["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
            daemon = any(one["kind"] == "DaemonSet" for one in metadata.get("ownerReferences") or ())
            if forced:
                self.kube.delete(path, grace_s=0)
            elif not daemon:
                empty = False
                if "deletionTimestamp" not in metadata:
                    self._evict(path, metadata)
        return empty

    def _evict(self, path: str, metadata: Mapping[str, Any]) -> None:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        }
        try:
            self.kube.create(f"{path}/eviction", body)
        except KubeError as error:
            # 429: a disruption budget says not yet; 404: it went by itself. Both are asked again at the next pass.
            if error.status not in (404, 429):
                raise

    def _advertise(self, nodes: Sequence[Node], groups: Sequence[Group]) -> None:
        if not any(node.expected_gpus for node in nodes):
            return
        owners: dict[str, set[str]] = {}  # namespace -> DaemonSets by uid
        for one in self.kube.items("/apis/apps/v1/daemonsets"):
            if gpu.is_plugin(one):
                owners.setdefault(one["metadata"]["namespace"], set()).add(one["metadata"]["uid"])
        on_nodes: set[str] = set()
        for namespace, uids in owners.items():
            on_nodes |= gpu.running_on(self.kube.items(f"/api/v1/namespaces/{namespace}/pods"), frozenset(uids))
        built_in = {group.arn for group in groups if group.accelerated_by_image}
        patches = gpu.patches(
            nodes,
            on_nodes=on_nodes,
            everywhere=self._recorded_chart(),
            by_image={node.name for node in nodes if node.group_arn in built_in},
        )
        for name, patch in patches.items():
            self.kube.merge(f"{NODES}/{name}/status", patch)
            log.info("%s now offers %s GPUs", name, patch["status"]["allocatable"])

    def _recorded_chart(self) -> bool:
        """Whether a recorded Helm release brings the device plugin."""
        records = self.kube.items("/api/v1/secrets", fieldSelector=f"type={gpu.RECORD_TYPE}")
        return any(gpu.is_recorded_chart(record) for record in records)

    def _report(self, nodes: Sequence[Node], groups: Sequence[Group], unserved: Mapping[str, str]) -> None:
        self.states = {
            group.arn: GroupState(
                cluster=group.cluster,
                region=group.region,
                desired=group.desired,
                nodes=sum(node.group_arn == group.arn for node in nodes),
                ready=sum(node.group_arn == group.arn and node.ready for node in nodes),
                health=_health(group, [node for node in nodes if node.group_arn == group.arn]),
            )
            for group in groups
        }
        for arn, reason in unserved.items():
            if self.unserved.get(arn) != reason:
                log.warning("%s: %s", arn, reason)
        self.unserved = dict(unserved)


def _health(group: Group, nodes: Sequence[Node]) -> tuple[str, ...]:
    problems = []
    if sum(node.draining_since is None for node in nodes) < group.desired:
        problems.append("InsufficientFreeAddresses: the group's subnets have no address left for another node")
    if group.machine.gpus and nodes and not any(node.allocatable_gpus for node in nodes):
        problems.append("no node offers GPUs: no device plugin runs on any of them")
    return tuple(problems)


def _region(arn: str) -> str:
    return arn.split(":")[3]
