"""Decide what makes the nodes of a group follow it. Pure: the controller acts and asks again."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from headrace_sandbox.kubernetes.nodes.records import Group, Node, Subnet

_RESERVED_FIRST: Final = 4
"""AWS keeps the first four addresses and the last of every subnet (VPC user guide, "Subnet sizing for IPv4")."""


@dataclass(frozen=True, kw_only=True)
class Create:
    """Add a node with this address in this subnet."""

    subnet: Subnet
    address: ipaddress.IPv4Address


@dataclass(frozen=True, kw_only=True)
class Relabel:
    """Give a node the group's present labels and taints."""

    node: Node


@dataclass(frozen=True, kw_only=True)
class Drain:
    """Take a node out of service: cordon, evict, delete. `reason` is for the log."""

    node: Node
    reason: str


Action = Create | Relabel | Drain


def plan(group: Group, nodes: Sequence[Node], taken: Collection[ipaddress.IPv4Address]) -> list[Action]:
    """What to do for one group. `nodes` are this group's; `taken` are the addresses of every node there is.

    Outdated nodes (another image release or launch template) go when as many present ones are ready as are wanted, so
    a rolling update never has less capacity than before.
    """
    current = [node for node in nodes if node.template == group.template and node.draining_since is None]
    outdated = [node for node in nodes if node.template != group.template and node.draining_since is None]
    actions: list[Action] = [Relabel(node=node) for node in current if differs(group, node)]
    actions += _creations(group, current, taken)
    surplus = len(current) - group.desired
    if surplus > 0:
        actions += [Drain(node=node, reason="the group shrank") for node in to_remove(current, surplus)]
    if outdated and sum(node.ready for node in current) >= group.desired:
        actions += [Drain(node=node, reason="its image or launch template is outdated") for node in outdated]
    return actions


def differs(group: Group, node: Node) -> bool:
    """Whether a node lacks the group's labels or taints, or has ones that the group no longer sets.

    Taints that controllers add (node.kubernetes.io/not-ready, unschedulable, ...) are not the group's business.
    """
    labels = dict(node.labels)
    wanted = dict(group.labels)
    if any(labels.get(key) != value for key, value in wanted.items()):
        return True
    if set(node.group_keys) != set(wanted):
        return True
    own = {taint for taint in node.taints if not taint.key.startswith("node.kubernetes.io/")}
    return own != set(group.taints)


def to_remove(nodes: Sequence[Node], count: int) -> list[Node]:
    """`count` nodes, each time from the fullest zone and there the newest, so that zones stay even."""
    left = sorted(nodes, key=lambda node: (node.created, node.name))
    chosen: list[Node] = []
    for _ in range(min(count, len(left))):
        zones = Counter(node.zone for node in left)
        fullest = max(zones, key=lambda zone: (zones[zone], zone))
        victim = next(node for node in reversed(left) if node.zone == fullest)
        left.remove(victim)
        chosen.append(victim)
    return chosen


def _creations(group: Group, current: Sequence[Node], taken: Collection[ipaddress.IPv4Address]) -> list[Create]:
    """New nodes, each in the emptiest zone, at the lowest free address of its subnet."""
    zones = Counter({subnet.zone: 0 for subnet in group.subnets})
    zones.update(node.zone for node in current if node.zone in zones)
    used = set(taken)
    made: list[Create] = []
    full: set[str] = set()
    while len(current) + len(made) < group.desired:
        open_subnets = [subnet for subnet in group.subnets if subnet.id not in full]
        if not open_subnets:
            break  # every subnet is out of addresses: the group stays short, as on AWS
        subnet = min(open_subnets, key=lambda one: (zones[one.zone], group.subnets.index(one)))
        address = free_address(subnet.cidr, used)
        if address is None:
            full.add(subnet.id)
            continue
        used.add(address)
        zones[subnet.zone] += 1
        made.append(Create(subnet=subnet, address=address))
    return made


def free_address(cidr: ipaddress.IPv4Network, taken: Collection[ipaddress.IPv4Address]) -> ipaddress.IPv4Address | None:
    """The lowest address of a subnet that AWS would give and nobody has, or None."""
    first, last = int(cidr.network_address) + _RESERVED_FIRST, int(cidr.broadcast_address) - 1
    for number in range(first, last + 1):
        address = ipaddress.IPv4Address(number)
        if address not in taken:
            return address
    return None
