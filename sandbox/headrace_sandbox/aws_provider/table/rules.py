"""Security groups and their rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headrace_sandbox.aws_provider.context import Context
from headrace_sandbox.aws_provider.spec import Call, Name, Read, ResourceType, State
from headrace_sandbox.aws_provider.table.parts import EC2_ARN as _ARN
from headrace_sandbox.aws_provider.table.parts import ec2_tags, words
from headrace_sandbox.plugin.provider import ProviderError

_NO_GROUP = ("InvalidGroup.NotFound", "InvalidGroupId.Malformed")
_DIRECTIONS = {
    "ingress": ("IpPermissions", "AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"),
    "egress": ("IpPermissionsEgress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupEgress"),
}
_Atom = tuple[str, int, int, str, str, str]
"""One rule of one source: protocol, first port, last port, kind of source, source, description."""

# -- Inline rules ------------------------------------------------------------------------------------------------------


def atoms_of_inputs(rules: Iterable[Mapping[str, Any]], group: str) -> set[_Atom]:
    """The rules of a program, one source each, so that any grouping of the same rules is equal."""
    found: set[_Atom] = set()
    for rule in rules:
        protocol = str(rule.get("protocol", "-1")).lower().replace("all", "-1")
        ports = (0, 0) if protocol == "-1" else (int(rule.get("fromPort", 0)), int(rule.get("toPort", 0)))
        text = str(rule.get("description") or "")
        sources = [("cidr", c) for c in rule.get("cidrBlocks") or []]
        sources += [("cidr6", c) for c in rule.get("ipv6CidrBlocks") or []]
        sources += [("prefix", p) for p in rule.get("prefixListIds") or []]
        sources += [("group", g) for g in rule.get("securityGroups") or []]
        sources += [("group", group)] if rule.get("self") else []
        found.update((protocol, *ports, kind, source, text) for kind, source in sources)
    return found


def atoms_of_permissions(permissions: Iterable[Mapping[str, Any]]) -> set[_Atom]:
    """The same of what AWS answers."""
    members = (
        ("cidr", "IpRanges", "CidrIp"),
        ("cidr6", "Ipv6Ranges", "CidrIpv6"),
        ("prefix", "PrefixListIds", "PrefixListId"),
        ("group", "UserIdGroupPairs", "GroupId"),
    )
    found: set[_Atom] = set()
    for permission in permissions:
        protocol = permission["IpProtocol"]
        ports = (0, 0) if protocol == "-1" else (int(permission.get("FromPort", 0)), int(permission.get("ToPort", 0)))
        for kind, member, key in members:
            for source in permission.get(member, []):
                found.add((protocol, *ports, kind, source[key], source.get("Description", "")))
    return found


def permissions_of(atoms: Iterable[_Atom]) -> list[dict[str, Any]]:
    """Request parameters for a set of rules."""
    members = {
        "cidr": ("IpRanges", "CidrIp"),
        "cidr6": ("Ipv6Ranges", "CidrIpv6"),
        "prefix": ("PrefixListIds", "PrefixListId"),
        "group": ("UserIdGroupPairs", "GroupId"),
    }
    result: list[dict[str, Any]] = []
    for protocol, first, last, kind, source, text in sorted(atoms):
        member, key = members[kind]
        row: dict[str, Any] = {
            "IpProtocol": protocol,
            member: [{key: source, **({"Description": text} if text else {})}],
        }
        if protocol != "-1":
            row |= {"FromPort": first, "ToPort": last}
        result.append(row)
    return result


def inputs_of_atoms(atoms: Iterable[_Atom], group: str) -> list[dict[str, Any]]:
    """Rules as a program would write them: one per protocol, ports and description."""
    grouped: dict[tuple[str, int, int, str], dict[str, Any]] = {}
    names = {"cidr": "cidrBlocks", "cidr6": "ipv6CidrBlocks", "prefix": "prefixListIds", "group": "securityGroups"}
    for protocol, first, last, kind, source, text in sorted(atoms):
        row = grouped.setdefault(
            (protocol, first, last, text),
            {"protocol": protocol, "fromPort": first, "toPort": last, **({"description": text} if text else {})},
        )
        if kind == "group" and source == group:
            row["self"] = True
        else:
            row.setdefault(names[kind], []).append(source)
    return list(grouped.values())


def _bring(ctx: Context, group: str, direction: str, before: set[_Atom], after: set[_Atom]) -> None:
    _, authorize, revoke = _DIRECTIONS[direction]
    if before - after:
        ctx.call(revoke, {"GroupId": group, "IpPermissions": permissions_of(before - after)})
    if after - before:
        ctx.call(authorize, {"GroupId": group, "IpPermissions": permissions_of(after - before)})


def _describe(ctx: Context, group: str) -> dict[str, Any]:
    groups = ctx.call("DescribeSecurityGroups", {"GroupIds": [group]}).get("SecurityGroups", [])
    if not groups:
        raise ProviderError(f"the security group {group} is gone; run `pulumi refresh`")
    return dict(groups[0])


def _rules_made(ctx: Context, state: State) -> None:
    """AWS lets everything out of a new group; the official provider takes that rule away unless it is asked for."""
    live = _describe(ctx, state["id"])
    for direction, (member, _, _) in _DIRECTIONS.items():
        wanted = atoms_of_inputs(state.get(direction) or [], state["id"])
        _bring(ctx, state["id"], direction, atoms_of_permissions(live.get(member, [])), wanted)


def _rules_changed(ctx: Context, old: State, inputs: State, changed: frozenset[str]) -> None:
    live = _describe(ctx, old["id"])
    for direction, (member, _, _) in _DIRECTIONS.items():
        if direction in changed:
            wanted = atoms_of_inputs(inputs.get(direction) or [], old["id"])
            _bring(ctx, old["id"], direction, atoms_of_permissions(live.get(member, [])), wanted)


def _rules_details(_ctx: Context, resource: State, state: State, known: State) -> None:
    for direction, (member, _, _) in _DIRECTIONS.items():
        live = atoms_of_permissions(resource.get(member, []))
        told = known.get(direction)
        if told is not None and atoms_of_inputs(told, state["id"]) == live:
            state[direction] = told
        else:
            state[direction] = inputs_of_atoms(live, state["id"])


def _revoke_all(ctx: Context, state: State) -> None:
    if state.get("revokeRulesOnDelete"):
        live = _describe(ctx, state["id"])
        for direction, (member, _, _) in _DIRECTIONS.items():
            _bring(ctx, state["id"], direction, atoms_of_permissions(live.get(member, [])), set())


_SECURITY_GROUP = ResourceType(
    type="aws:ec2/securityGroup:SecurityGroup",
    service="ec2",
    create=Call(op="CreateSecurityGroup", props=None, rename={"name": "GroupName"}),
    created={"id": "GroupId"},
    read=Read(op="DescribeSecurityGroups", args={"GroupIds": ["{id}"]}, at="SecurityGroups[0]", missing=_NO_GROUP),
    delete=Call(op="DeleteSecurityGroup", args={"GroupId": "{id}"}),
    busy=("DependencyViolation",),
    arn=_ARN + "security-group/{id}",
    rename={"name": "GroupName"},
    replace=words("name namePrefix description vpcId"),
    computed=words("name vpcId ingress egress"),
    defaults={"description": "Managed by Pulumi", "revokeRulesOnDelete": False},
    local=words("revokeRulesOnDelete namePrefix"),
    hooked=words("ingress egress"),
    object_sets=words("ingress egress"),
    name=Name(prefix_property="namePrefix"),
    tags=ec2_tags("security-group"),
    after_create=_rules_made,
    on_update=_rules_changed,
    amend=_rules_details,
    before_delete=_revoke_all,
)


def _adopt(ctx: Context, inputs: State) -> State:
    filters = [{"Name": "group-name", "Values": ["default"]}]
    if inputs.get("vpcId"):
        filters.append({"Name": "vpc-id", "Values": [inputs["vpcId"]]})
    found = list(ctx.pages("DescribeSecurityGroups", {"Filters": filters}, "SecurityGroups"))
    if not found:
        raise ProviderError(f"no default security group in {inputs.get('vpcId', 'the default VPC')}")
    group = found[0]["GroupId"]
    if inputs.get("tagsAll"):
        pairs = [{"Key": k, "Value": v} for k, v in inputs["tagsAll"].items()]
        ctx.call("CreateTags", {"Resources": [group], "Tags": pairs})
    return {"id": group}


# Adopted, not made: without rules in the program it is emptied, and deleting it only forgets it.
_DEFAULT_SECURITY_GROUP = ResourceType(
    type="aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    service="ec2",
    on_create=_adopt,
    read=Read(op="DescribeSecurityGroups", args={"GroupIds": ["{id}"]}, at="SecurityGroups[0]", missing=_NO_GROUP),
    on_delete=lambda _ctx, _state: None,
    arn=_ARN + "security-group/{id}",
    rename={"name": "GroupName"},
    replace=words("vpcId"),
    computed=words("vpcId"),
    strict=words("ingress egress"),
    local=words("revokeRulesOnDelete"),
    defaults={"revokeRulesOnDelete": False},
    hooked=words("ingress egress vpcId"),
    object_sets=words("ingress egress"),
    tags=ec2_tags("security-group"),
    after_create=_rules_made,
    on_update=_rules_changed,
    amend=_rules_details,
)

# -- Rules as resources ------------------------------------------------------------------------------------------------

_SOURCES = {
    "cidrIpv4": ("IpRanges", "CidrIp", "CidrIpv4"),
    "cidrIpv6": ("Ipv6Ranges", "CidrIpv6", "CidrIpv6"),
    "prefixListId": ("PrefixListIds", "PrefixListId", "PrefixListId"),
    "referencedSecurityGroupId": ("UserIdGroupPairs", "GroupId", "ReferencedGroupId"),
}


def _permission(inputs: State) -> dict[str, Any]:
    source = next(n for n in _SOURCES if inputs.get(n))
    member, key, _ = _SOURCES[source]
    entry = {key: inputs[source]} | ({"Description": inputs["description"]} if inputs.get("description") else {})
    ports = {m: inputs[n] for n, m in (("fromPort", "FromPort"), ("toPort", "ToPort")) if inputs.get(n) is not None}
    return {"IpProtocol": inputs["ipProtocol"], member: [entry], **ports}


def _authorize(op: str) -> Any:
    def run(ctx: Context, inputs: State) -> State:
        params: dict[str, Any] = {"GroupId": inputs["securityGroupId"], "IpPermissions": [_permission(inputs)]}
        if inputs.get("tagsAll"):
            pairs = [{"Key": k, "Value": v} for k, v in inputs["tagsAll"].items()]
            params["TagSpecifications"] = [{"ResourceType": "security-group-rule", "Tags": pairs}]
        made = ctx.call(op, params)["SecurityGroupRules"]
        return {"id": made[0]["SecurityGroupRuleId"]}

    return run


def _modify_rule(ctx: Context, old: State, inputs: State, _changed: frozenset[str]) -> None:
    request = {member: inputs[name] for name, (_, _, member) in _SOURCES.items() if inputs.get(name)}
    request |= {m: inputs[n] for n, m in (("fromPort", "FromPort"), ("toPort", "ToPort")) if inputs.get(n) is not None}
    if inputs["ipProtocol"] == "-1":
        request |= {"FromPort": -1, "ToPort": -1}  # as AWS reports them; moto wants ports for every protocol
    request |= {"IpProtocol": inputs["ipProtocol"], "Description": inputs.get("description") or ""}
    rule = {"SecurityGroupRuleId": old["id"], "SecurityGroupRule": request}
    ctx.call("ModifySecurityGroupRules", {"GroupId": old["securityGroupId"], "SecurityGroupRules": [rule]})


def _rule_details(_ctx: Context, _resource: State, state: State, known: State) -> None:
    state["securityGroupRuleId"] = state["id"]
    if state.get("ipProtocol") == "-1":
        for name in ("fromPort", "toPort"):
            if known.get(name) is None:
                state.pop(name, None)  # AWS answers -1 for "all ports"
            elif state.get(name) is None:
                state[name] = known[name]
    if known.get("ipProtocol") and _protocol(known["ipProtocol"]) == state.get("ipProtocol"):
        state["ipProtocol"] = known["ipProtocol"]


def _protocol(name: str) -> str:
    return {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "all": "-1"}.get(name, name)


def _one_source(inputs: State) -> list[tuple[str, str]]:
    given = [n for n in _SOURCES if inputs.get(n) is not None]
    problems = [] if len(given) == 1 else [("cidrIpv4", f"exactly one of {', '.join(_SOURCES)} must be configured")]
    protocol = inputs.get("ipProtocol")
    if isinstance(protocol, str) and protocol not in ("-1", "all") and inputs.get("fromPort") is None:
        problems.append(("fromPort", f"ports are needed with the protocol {protocol!r}"))
    return problems


def _rule(direction: str) -> ResourceType:
    return ResourceType(
        type=f"aws:vpc/securityGroup{direction}Rule:SecurityGroup{direction}Rule",
        service="ec2",
        on_create=_authorize(f"AuthorizeSecurityGroup{direction}"),
        read=Read(
            op="DescribeSecurityGroupRules",
            args={"SecurityGroupRuleIds": ["{id}"]},
            at="SecurityGroupRules[0]",
            missing=("InvalidSecurityGroupRuleId.NotFound", *_NO_GROUP),
        ),
        delete=Call(
            op=f"RevokeSecurityGroup{direction}",
            args={"GroupId": "{securityGroupId}", "SecurityGroupRuleIds": ["{id}"]},
        ),
        absent=("InvalidPermission.NotFound",),
        arn=_ARN + "security-group-rule/{id}",
        rename={"securityGroupId": "GroupId"},
        outputs={"referencedSecurityGroupId": "ReferencedGroupInfo.GroupId"},
        replace=words("securityGroupId"),
        hooked=words("securityGroupId ipProtocol fromPort toPort description") | frozenset(_SOURCES),
        on_update=_modify_rule,
        on_check=_one_source,
        amend=_rule_details,
        tags=ec2_tags("security-group-rule"),
    )


ROWS = (_SECURITY_GROUP, _DEFAULT_SECURITY_GROUP, _rule("Ingress"), _rule("Egress"))
