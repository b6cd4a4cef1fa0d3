"""A security group that lets the internet in.

**What.** No ingress rule admits 0.0.0.0/0 or ::/0.

**Why.** Everything of the platform talks inside the VPC; the router's users come through a private path or a load
balancer with its own rules.

**Passes.** Ranges that are narrower, other groups, prefix lists.

**Violates.** `cidrIpv4: 0.0.0.0/0`, an inline `ingress` with `::/0`.

**Undecidable when** a range is not known and no other source is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Rule, Said, Scope, View, undecided

_GROUP: Final = "aws:ec2/securityGroup:SecurityGroup"
_DEFAULT: Final = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
_INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_RULE: Final = "aws:ec2/securityGroupRule:SecurityGroupRule"
_ANYWHERE: Final = ("0.0.0.0/0", "::/0")


def check(view: View) -> Iterator[Said]:
    """Rules by themselves and rules inside their group."""
    for one in view.graph.of(_INGRESS):
        for name in ("cidrIpv4", "cidrIpv6"):
            yield from _range(one, name, one.get(name))
    for one in view.graph.of(_RULE):
        if one.get("type") == "egress":
            continue
        for name in ("cidrBlocks", "ipv6CidrBlocks"):
            for path, value in one.items(name):
                yield from _range(one, path, value)
    for type_ in (_GROUP, _DEFAULT):
        for one in view.graph.of(type_):
            for path, entry in one.items("ingress"):
                if isinstance(entry, Mapping):
                    for name in ("cidrBlocks", "ipv6CidrBlocks"):
                        values = entry.get(name)
                        for value in values if isinstance(values, list | tuple) else [values]:
                            yield from _range(one, f"{path}.{name}", value)


def _range(one: Resource, path: str, value: Any) -> Iterator[Said]:
    if isinstance(value, Unknown):
        if not one.dependencies.get(path.split("[")[0].split(".")[0]):  # made of a resource: that one's own range
            yield undecided(one.urn, value, "whom it lets in")
    elif value in _ANYWHERE:
        yield Broken(resource=one.urn, sentence=f"{path} is {value}: it lets the whole internet in")


RULE: Final = Rule(
    id="open-security-group",
    severity=Severity.CRITICAL,
    title="Open security group",
    description="No security group lets the whole internet in.",
    remediation="name the range or the security group that needs access",
    references=("CIS AWS Foundations Benchmark 5.2", "SOC 2 CC6.6"),
    reads=(_GROUP, _DEFAULT, _INGRESS, _RULE),
    since="0.1.0",
    scope=Scope.RESOURCE,
    check=check,
)
