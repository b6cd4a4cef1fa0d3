"""Where the subnets of a VPC go: pure CIDR arithmetic.

The address range is cut into four quarters. Quarter i is the private subnet of zone i, large because every pod takes
an address of its subnet (VPC CNI). The last quarter holds the small ones: per zone one router subnet, one intra subnet
(the control plane's interfaces) and one edge subnet (NAT gateways alone, only where the router has egress).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from headrace.errors import refuse

# AWS allows /16 to /28 for a VPC and /28 as the smallest subnet; our smallest subnet is eight bits below the VPC.
WIDEST_PREFIX = 16
NARROWEST_PREFIX = 20


@dataclass(frozen=True, kw_only=True)
class ZoneLayout:
    """The CIDR of each subnet of one zone. `edge` is used only where NAT gateways are."""

    zone: str
    private: str
    router: str
    intra: str
    edge: str

    def all(self) -> tuple[str, str, str, str]:
        """Every CIDR of the zone."""
        return (self.private, self.router, self.intra, self.edge)


def lay_out(cidr: str, zones: tuple[str, ...]) -> tuple[ZoneLayout, ...]:
    """Subnets for `zones` (at most three) within `cidr`. Adding a zone at the end moves nothing."""
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError as error:
        raise refuse(
            "network.cidr",
            cidr,
            "must be an IPv4 network with its host bits zero",
            reason=str(error),
            next_step="write it like 10.20.0.0/16",
        ) from error
    if not WIDEST_PREFIX <= network.prefixlen <= NARROWEST_PREFIX:
        raise refuse(
            "network.cidr",
            cidr,
            f"must have a prefix from /{WIDEST_PREFIX} to /{NARROWEST_PREFIX}",
            reason="AWS allows no wider VPC, and a narrower one leaves subnets below AWS's smallest, /28",
            next_step=f"choose a network between /{WIDEST_PREFIX} and /{NARROWEST_PREFIX}",
        )
    if not 1 <= len(zones) <= 3:
        raise refuse(
            "network.zones",
            list(zones),
            "must name one to three zones",
            next_step="name two or three zones of the region",
        )
    *private, rest = network.subnets(prefixlen_diff=2)
    *router, small = rest.subnets(prefixlen_diff=2)
    sixteenths = list(small.subnets(prefixlen_diff=4))
    return tuple(
        ZoneLayout(
            zone=zone,
            private=str(private[index]),
            router=str(router[index]),
            intra=str(sixteenths[index]),
            edge=str(sixteenths[index + 4]),
        )
        for index, zone in enumerate(zones)
    )
