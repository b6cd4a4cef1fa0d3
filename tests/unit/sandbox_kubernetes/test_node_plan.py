"""Nodes follow their group: number, zones, labels, taints, release; never on a guess."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headrace_sandbox.kubernetes.nodes.manifest import node_name
from headrace_sandbox.kubernetes.nodes.plan import Create, Drain, Relabel, free_address, plan, to_remove
from headrace_sandbox.kubernetes.nodes.records import Group, Node, Taint

from .groups import BORN, SUBNETS, TAINT, group, node


def act(of: Group, nodes: list[Node]) -> list[Node]:
    """Carry a plan out, drains and all, at once."""
    actions = plan(of, nodes, {one.address for one in nodes})
    gone = {action.node.name for action in actions if isinstance(action, Drain)}
    made = [
        dataclasses.replace(
            node(1, of), name=node_name(action.address, of.region), zone=action.subnet.zone, created=BORN
        )
        for action in actions
        if isinstance(action, Create)
    ]
    return [one for one in nodes if one.name not in gone] + made


@given(st.lists(st.integers(min_value=0, max_value=40), min_size=1, max_size=8))
def test_the_nodes_follow_any_sequence_of_sizes_with_even_zones_and_own_addresses(sizes: list[int]) -> None:
    nodes: list[Node] = []
    for size in sizes:
        wanted = group(desired=size)
        nodes = act(wanted, nodes)
        assert len(nodes) == size
        assert len({one.name for one in nodes}) == size, "an address is given once"
        zones = Counter({subnet.zone: 0 for subnet in SUBNETS}) + Counter(one.zone for one in nodes)
        counts = [zones[subnet.zone] for subnet in SUBNETS]
        assert max(counts) - min(counts) <= 1, "zones stay even, growing and shrinking"
        assert plan(wanted, nodes, {one.address for one in nodes}) == [], "a second look finds nothing to do"


def test_the_newest_node_of_the_fullest_zone_goes_first() -> None:
    of = group(desired=1)
    nodes = [node(5, of), node(6, of), node(7, of, zone="b")]
    assert [one.name for one in to_remove(nodes, 1)] == [nodes[1].name]


def test_changed_labels_and_taints_reach_the_nodes_in_place() -> None:
    of = group()
    nodes = [node(5, of), node(6, of, zone="b")]
    assert plan(of, nodes, set()) == []
    for changed in (
        group(labels=(("pool", "floor"), ("tier", "gold"))),
        group(labels=()),
        group(taints=()),
        group(taints=(TAINT, Taint(key="x", value="y", effect="NoExecute"))),
    ):
        assert plan(changed, nodes, set()) == [Relabel(node=nodes[0]), Relabel(node=nodes[1])]


def test_taints_of_controllers_are_left_alone() -> None:
    of = group(desired=1)
    pressed = node(5, of, taints=(*of.taints, Taint(key="node.kubernetes.io/not-ready", value="", effect="NoSchedule")))
    assert plan(of, [pressed], set()) == []


def test_a_new_release_adds_nodes_before_it_takes_the_old_ones() -> None:
    old, new = group(), group(release="1.36.0-20261101")
    outdated = [node(5, old), node(6, old, zone="b")]
    first = plan(new, outdated, {one.address for one in outdated})
    assert [type(action) for action in first] == [Create, Create], "nothing goes before the new ones are ready"
    starting = [node(8, new, ready=False), node(9, new, zone="b")]
    assert plan(new, [*outdated, *starting], set()) == []
    ready = [node(8, new), node(9, new, zone="b")]
    assert {action.node.name for action in plan(new, [*outdated, *ready], set()) if isinstance(action, Drain)} == {
        one.name for one in outdated
    }


def test_a_draining_node_is_neither_counted_nor_drained_again() -> None:
    of = group(desired=1)
    leaving = node(5, of, draining_since=BORN + datetime.timedelta(seconds=1))
    assert [type(action) for action in plan(of, [leaving], {leaving.address})] == [Create]


def test_a_full_subnet_is_passed_over_and_a_full_group_stays_short() -> None:
    tiny = tuple(
        dataclasses.replace(one, cidr=ipaddress.IPv4Network(f"10.0.{n}.0/28")) for n, one in enumerate(SUBNETS)
    )
    made = plan(group(desired=100, subnets=tiny), [], set())
    assert len(made) == 3 * 11, "a /28 has 16 addresses, of which AWS keeps 5"


def test_the_addresses_that_aws_keeps_are_never_given() -> None:
    network = ipaddress.IPv4Network("10.0.0.0/28")
    given_out: set[ipaddress.IPv4Address] = set()
    while (address := free_address(network, given_out)) is not None:
        given_out.add(address)
    assert min(given_out) == ipaddress.IPv4Address("10.0.0.4")
    assert max(given_out) == ipaddress.IPv4Address("10.0.0.14")
