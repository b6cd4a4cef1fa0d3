"""Properties that moto drops: kept when written, merged into what is read, so that drift is real.

One table. A row says which member of which request is kept, under which resource, and where in which response it shows.
What was asked for wins over what moto says, member by member; what moto alone knows stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace_sandbox.aws.store import Kind
from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Overlay, World

KEPT = Kind(service="gateway", name="kept")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """`value(params, output)` of `write` is kept under `ident(params, output)` and merged into each item of
    `items(output)` of `read` for which `ident_of(item, params)` is the same."""

    service: str
    write: str
    read: str
    ident: Callable[[Doc, Doc], str]
    value: Callable[[Doc], Doc]
    items: Callable[[Doc], list[Doc]]
    ident_of: Callable[[Doc, Doc], str]


def overlay(base: Any, kept: Any) -> Any:
    """`kept` over `base`: structures by member, lists by position where they are as long, all else replaced."""
    if isinstance(base, dict) and isinstance(kept, dict):
        return {**base, **{k: overlay(base.get(k), v) for k, v in kept.items()}}
    if isinstance(base, list) and isinstance(kept, list) and len(base) == len(kept):
        return [overlay(b, k) for b, k in zip(base, kept, strict=True)]
    return base if kept is None else kept


def _template(params: Doc, output: Doc) -> str:
    made = output.get("LaunchTemplateVersion") or {}
    made = made or {"VersionNumber": 1, **output.get("LaunchTemplate", {})}
    return f"{made.get('LaunchTemplateId')}/{made.get('VersionNumber')}"


def _template_data(params: Doc) -> Doc:
    data = dict(params.get("LaunchTemplateData", {}))
    return {"LaunchTemplateData": data} if not params.get("SourceVersion") else {}


def _subnet(params: Doc, _: Doc) -> str:
    return str(params["SubnetId"])


def _hostname(params: Doc) -> Doc:
    kind = params.get("PrivateDnsHostnameTypeOnLaunch")
    return {"PrivateDnsNameOptionsOnLaunch": {"HostnameType": kind}} if kind else {}


def _same(member: str) -> Callable[[Doc], Doc]:
    return lambda params: {member: params[member]} if params.get(member) is not None else {}


def _endpoint(params: Doc, output: Doc) -> str:
    return str(params.get("VpcEndpointId") or output.get("VpcEndpoint", {}).get("VpcEndpointId"))


def _versions(write: str) -> Kept:
    return Kept(
        service="ec2",
        write=write,
        read="DescribeLaunchTemplateVersions",
        ident=_template,
        value=_template_data,
        items=lambda output: output.get("LaunchTemplateVersions", []),
        ident_of=lambda item, _: f"{item['LaunchTemplateId']}/{item['VersionNumber']}",
    )


def _rule_description(params: Doc) -> Doc:
    """The description of a rule that names another group: moto keeps those of address ranges only."""
    pairs = [pair for permission in params.get("IpPermissions", []) for pair in permission.get("UserIdGroupPairs", [])]
    return {"Description": pairs[0]["Description"]} if len(pairs) == 1 and "Description" in pairs[0] else {}


def _new_rule(_: Doc, output: Doc) -> str:
    made: list[Doc] = output.get("SecurityGroupRules", [])
    return str(made[0].get("SecurityGroupRuleId")) if made else "None"


def _changed_rule_description(params: Doc) -> Doc:
    return _same("Description")(params["SecurityGroupRules"][0].get("SecurityGroupRule", {}))


def _rules(write: str, ident: Callable[[Doc, Doc], str], value: Callable[[Doc], Doc]) -> Kept:
    return Kept(
        service="ec2",
        write=write,
        read="DescribeSecurityGroupRules",
        ident=ident,
        value=value,
        items=lambda output: output.get("SecurityGroupRules", []),
        ident_of=lambda item, _: item["SecurityGroupRuleId"],
    )


TABLE: Sequence[Kept] = (
    _rules("AuthorizeSecurityGroupIngress", _new_rule, _rule_description),
    _rules("AuthorizeSecurityGroupEgress", _new_rule, _rule_description),
    # One rule a call is what the provider sends.
    _rules(
        "ModifySecurityGroupRules",
        lambda params, _: params["SecurityGroupRules"][0]["SecurityGroupRuleId"],
        _changed_rule_description,
    ),
    _versions("CreateLaunchTemplate"),
    _versions("CreateLaunchTemplateVersion"),
    Kept(
        service="ec2",
        write="ModifySubnetAttribute",
        read="DescribeSubnets",
        ident=_subnet,
        value=_hostname,
        items=lambda output: output.get("Subnets", []),
        ident_of=lambda item, _: item["SubnetId"],
    ),
    *(
        Kept(
            service="ec2",
            write=write,
            read="DescribeVpcEndpoints",
            ident=_endpoint,
            value=_same(member),
            items=lambda output: output.get("VpcEndpoints", []),
            ident_of=lambda item, _: item["VpcEndpointId"],
        )
        for write in ("CreateVpcEndpoint", "ModifyVpcEndpoint")
        for member in ("IpAddressType", "DnsOptions")
    ),
    Kept(
        service="kms",
        write="EnableKeyRotation",
        read="GetKeyRotationStatus",
        ident=lambda params, _: params["KeyId"].rsplit("/", 1)[-1],
        value=lambda params: {"RotationPeriodInDays": params.get("RotationPeriodInDays") or 365},
        items=lambda output: [output] if output.get("KeyRotationEnabled") else [],
        ident_of=lambda _, params: params["KeyId"].rsplit("/", 1)[-1],
    ),
)


def _keep(row: Kept) -> Overlay:
    async def keep(world: World, call: Call, result: Doc) -> Doc:
        value = row.value(call.params)
        if value:
            key = f"{row.read}/{row.ident(call.params, result)}"
            before = world.store.get(KEPT, call.region, key) or {}
            world.store.put(KEPT, call.region, key, overlay(before, value))
        return result

    return keep


def _show(read: str, row: Kept) -> Overlay:
    async def show(world: World, call: Call, result: Doc) -> Doc:
        for item in row.items(result):
            kept = world.store.get(KEPT, call.region, f"{read}/{row.ident_of(item, call.params)}")
            if kept:
                merged = overlay(item, kept)
                item.clear()
                item.update(merged)
        return result

    return show


def overlays() -> Mapping[tuple[str, str], Sequence[Overlay]]:
    """The overlays of every write and read of the table; one per read: a resource's kept members are one document."""
    made: dict[tuple[str, str], list[Overlay]] = defaultdict(list)
    shown: set[tuple[str, str]] = set()
    for row in TABLE:
        made[row.service, row.write].append(_keep(row))
        if (row.service, row.read) not in shown:
            shown.add((row.service, row.read))
            made[row.service, row.read].append(_show(row.read, row))
    return made
