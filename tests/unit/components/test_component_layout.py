"""Subnets of a VPC."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import Refused
from headrace_components.layout import lay_out

ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
networks = st.builds(
    lambda prefix, bits: str(ipaddress.IPv4Network((bits << (32 - prefix) & 0xFFFFFFFF, prefix))),
    st.integers(16, 20),
    st.integers(0, 2**16 - 1),
)


@given(cidr=networks, count=st.integers(1, 3))
def test_subnets_lie_within_the_vpc_and_never_overlap(cidr: str, count: int) -> None:
    layout = lay_out(cidr, ZONES[:count])
    subnets = [ipaddress.IPv4Network(one) for zone in layout for one in zone.all()]
    vpc = ipaddress.IPv4Network(cidr)
    assert all(subnet.subnet_of(vpc) for subnet in subnets), "a subnet outside of its VPC is refused by AWS"
    for index, one in enumerate(subnets):
        for other in subnets[index + 1 :]:
            assert not one.overlaps(other), f"{one} and {other} overlap"


@given(cidr=networks)
def test_no_subnet_is_smaller_than_aws_allows(cidr: str) -> None:
    for zone in lay_out(cidr, ZONES):
        assert all(ipaddress.IPv4Network(one).prefixlen <= 28 for one in zone.all())


@given(cidr=networks)
def test_a_zone_added_at_the_end_moves_no_subnet(cidr: str) -> None:
    assert lay_out(cidr, ZONES)[:2] == lay_out(cidr, ZONES[:2])


@given(cidr=networks)
def test_the_private_subnet_is_the_largest_of_its_zone(cidr: str) -> None:
    for zone in lay_out(cidr, ZONES):
        sizes = [ipaddress.IPv4Network(one).num_addresses for one in zone.all()]
        assert sizes[0] == max(sizes), "every pod takes an address of the private subnet"


@pytest.mark.parametrize(
    ("cidr", "sentence"),
    [
        ("10.0.0.0/8", r"network\.cidr is '10\.0\.0\.0/8': must have a prefix from /16 to /20"),
        ("10.0.0.0/24", "narrower one leaves subnets below AWS's smallest"),
        ("10.0.0.1/16", "host bits"),
        ("ten", "must be an IPv4 network"),
    ],
)
def test_a_network_that_cannot_be_cut_is_refused_with_the_reason(cidr: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        lay_out(cidr, ZONES)


def test_no_zones_and_four_zones_are_refused() -> None:
    for zones in ((), (*ZONES, "eu-central-1d")):
        with pytest.raises(Refused, match="one to three zones"):
            lay_out("10.0.0.0/16", zones)
