"""The pack: every rule as a policy. Nothing is decided here.

A rule that sees one resource runs before each resource changes, in the preview and in the update. A rule that compares
resources runs over the whole stack at the preview's end; so that `--skip-preview` doesn't skip it, an update also asks
it as soon as the resources of its `early` list are registered (`gate-before-changes`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)

from headrace.errors import Refused
from headrace.rules import engine, waiver
from headrace.rules.finding import Finding, Status
from headrace.rules.graph import COMPONENTS, Graph, Resource
from headrace.rules.registry import RULES
from headrace.rules.rule import Rule, Scope, View
from headrace_policies import reading, session

GATE: Final = "gate-before-changes"
SETTINGS: Final = "settings-not-readable"
_DOCS: Final = "https://github.com/headrace/headrace/blob/main/docs/policies/{id}.md"


def view(resources: Graph) -> View:
    """What rules see in this run."""
    return View(graph=resources, today=session.today(), settings=session.loaded().settings)


def judge(rule: Rule, resources: Graph, parameters: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Open findings of a rule; exempted and waived ones are reported to whoever asked, not raised."""
    found = engine.run(rule, view(resources), _known(rule, parameters))
    exempt = tuple(str(one) for one in parameters.get("exempt") or ())
    found = tuple(one for one in found if one.resource.split("::")[-1] not in exempt)
    try:
        excused = [one for one in session.waivers() if one.policy == rule.id]
    except Refused:
        excused = []  # settings-not-readable says so, once
    outcome = waiver.apply(found, excused, environment=session.environment(), today=session.today())
    left = [*outcome.open, *_use(outcome.waived)]
    session.report("advice" if rule.advisory else "open", left)
    return tuple(left)


def _use(waived: Sequence[tuple[Finding, waiver.Waiver]]) -> Iterator[Finding]:
    """Reports and records each use of a waiver. One that can't be recorded excuses nothing."""
    if not waived:
        return
    from headrace.audit.waiver_uses import NotRecorded

    for finding, by in waived:
        try:
            place = session.record_use(finding, by)
        except NotRecorded as error:
            yield replace(
                finding,
                sentence=f"{finding.sentence} (waiver {by.ticket} doesn't count: its use can't be recorded: {error})",
                remediation="make the folder writable, or name another in HEADRACE_AUDIT_DIR",
            )
            continue
        session.report("waived", [finding], {finding: by})
        _say_once(
            f"waived {finding.rule} on {finding.resource.split('::')[-1]} by {by.approver} ({by.ticket}) "
            f"until {by.expires}: {finding.sentence} [audit record: {place}]"
        )


def _known(rule: Rule, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: parameters[one.name] for one in rule.parameters if one.name in parameters}


_SAID: Final[set[str]] = set()


def _say_once(text: str) -> None:
    if text not in _SAID:
        _SAID.add(text)
        session.say(text)


def policy(rule: Rule) -> Policy:
    """A rule as a policy of the scope that it needs."""
    common: dict[str, Any] = {
        "name": rule.id,
        "description": rule.description,
        "enforcement_level": EnforcementLevel.ADVISORY if rule.advisory else EnforcementLevel.MANDATORY,
        "config_schema": schema(rule),
        "severity": Severity(rule.severity.value),
        "remediation_steps": rule.remediation,
        "tags": list(rule.references),
        "url": _DOCS.format(id=rule.id),
    }
    if rule.scope is Scope.RESOURCE:
        types = _types(rule)

        def validate_resource(args: ResourceValidationArgs, report: ReportViolation) -> None:
            if types is None or args.resource_type.startswith(types):
                for finding in judge(rule, _with_platform(reading.current(args)), args.get_config()):
                    report(message(finding), None)

        return ResourceValidationPolicy(validate=validate_resource, **common)

    def validate_stack(args: StackValidationArgs, report: ReportViolation) -> None:
        for finding in judge(rule, reading.stack(args.resources, rule.id), args.get_config()):
            report(message(finding), finding.resource if finding.resource.startswith("urn:") else None)

    return StackValidationPolicy(validate=validate_stack, **common)


def _types(rule: Rule) -> tuple[str, ...] | None:
    """Prefixes of the resource types that a rule reads; None for all."""
    if "*" in rule.reads:
        return None
    return tuple(one.rstrip("*") for one in rule.reads if ":" in one)


# Components come before their resources, and their facts say what residency the stack declares.
_PLATFORM: Final[list[Resource]] = []
_SEEN: Final[list[Resource]] = []


_LAST: Final[list[tuple[Resource, Graph]]] = []


def _with_platform(one: Resource) -> Graph:
    if not _LAST or _LAST[0][0] is not one:
        _LAST[:] = [(one, Graph([*(other for other in _PLATFORM if other.urn != one.urn), one]))]
    return _LAST[0][1]


def schema(rule: Rule) -> PolicyConfigSchema:
    """What an environment may set: the rule's parameters and the resources that it exempts."""
    properties: dict[str, dict[str, Any]] = {
        "exempt": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names of resources that the policy leaves alone; a waiver also has a reason.",
        }
    }
    for one in rule.parameters:
        if isinstance(one.default, tuple):
            properties[one.name] = {"type": "array", "items": {"type": "string"}, "default": list(one.default)}
        else:
            properties[one.name] = {"type": "number", "default": one.default}
            properties[one.name] |= {} if one.minimum is None else {"minimum": one.minimum}
            properties[one.name] |= {} if one.maximum is None else {"maximum": one.maximum}
        properties[one.name]["description"] = one.description
    return PolicyConfigSchema(properties=properties)


def message(finding: Finding) -> str:
    """What a person reads: where it is no resource, the sentence, and what to do."""
    lead = "undecidable at preview: " if finding.status is Status.UNDECIDABLE else ""
    where = f"{finding.resource.removeprefix('settings:')}: " if finding.resource.startswith("settings:") else ""
    return f"{lead}{where}{finding.sentence}. To fix: {finding.remediation}."


def gate() -> ResourceValidationPolicy:
    """In an update, rules over the whole stack as soon as what they compare is registered. Only what is broken for
    certain counts: what isn't known yet may come with the next resource, and the preview has judged it."""
    by_type: dict[str, list[Rule]] = {}
    for rule in RULES:
        for type_ in rule.early if rule.scope is Scope.STACK and not rule.advisory else ():
            by_type.setdefault(type_, []).append(rule)

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        one = reading.single(args)
        reading.remember(one)
        if one.type.startswith(COMPONENTS):
            _PLATFORM.append(one)
        if session.dry_run() or os.environ.get("PULUMI_CONFIG") is None:
            return
        _SEEN.append(one)
        for rule in by_type.get(one.type, ()):
            for finding in judge(rule, Graph(_SEEN), {}):
                if finding.status is Status.VIOLATION:
                    report(f"{rule.id}: {message(finding)}", None)

    return ResourceValidationPolicy(
        name=GATE,
        description="An update that skipped its preview is held to the rules over the whole stack all the same.",
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
    )


def settings_policy() -> ResourceValidationPolicy:
    """Refuses everything where settings or waivers can't be read: no rule could be trusted then."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        if not _first(args):
            return
        for problem in session.loaded().problems:
            report(f"settings can't be read, so nothing can be judged: {problem}", None)
        try:
            session.waivers()
        except Refused as refused:
            for one in refused.problems:
                report(f"waivers can't be read, so nothing can be judged: {one}", None)

    return ResourceValidationPolicy(
        name=SETTINGS,
        description="Settings and waivers must be readable, or nothing passes.",
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
    )


_JUDGED: Final[set[str]] = set()


def _first(args: ResourceValidationArgs) -> bool:
    """Whether this is the first resource that is asked about: one report is enough."""
    _JUDGED.add(args.urn)
    return len(_JUDGED) == 1


def waivers_policy(name: str, level: EnforcementLevel) -> StackValidationPolicy:
    """Expired and too broad waivers refuse; unused ones warn."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        try:
            known = session.waivers()
        except Refused:
            return  # settings-not-readable says so
        named = {one.policy for one in known}
        rules = [rule for rule in RULES if rule.id in named]
        found = engine.evaluate(view(reading.stack(args.resources, name)), rules) if rules else ()
        outcome = waiver.apply(found, known, environment=session.environment(), today=session.today())
        if level is EnforcementLevel.MANDATORY:
            complaints = outcome.complaints
        else:
            complaints = tuple(waiver.unused(one) for one in outcome.unused)
        session.report("open" if level is EnforcementLevel.MANDATORY else "advice", complaints)
        for finding in complaints:
            report(message(finding), None)

    return StackValidationPolicy(
        name=name,
        description="Waivers have a date that has not passed, name their resource, and excuse something.",
        validate=validate,
        enforcement_level=level,
    )


def cost_policy() -> StackValidationPolicy:
    """Shows what the stack costs; `cost-over-budget` judges it."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        from headrace.rules.cost import cost_over_budget
        from headrace.rules.money import PriceMissing

        try:
            line = cost_over_budget.summary(view(reading.stack(args.resources, "monthly-cost")))
        except PriceMissing:
            return  # cost-over-budget says so
        if line:
            _say_once(line)

    return StackValidationPolicy(
        name="monthly-cost",
        description="Shows the stack's monthly cost with its range, line by line.",
        validate=validate,
        enforcement_level=EnforcementLevel.ADVISORY,
    )


# The gate comes first: it remembers the components that rules on single resources need.
POLICIES: Final[list[Policy]] = [
    settings_policy(),
    gate(),
    *(policy(rule) for rule in RULES),
    waivers_policy(waiver.WAIVERS_RULE, EnforcementLevel.MANDATORY),
    waivers_policy(waiver.UNUSED_RULE, EnforcementLevel.ADVISORY),
    cost_policy(),
]
