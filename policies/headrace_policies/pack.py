"""The pack: every rule as a policy. Nothing is decided here."""

from __future__ import annotations

from typing import Final

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    ReportViolation,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)

from headrace.rules import engine
from headrace.rules.finding import Finding, Status
from headrace.rules.registry import RULES
from headrace.rules.rule import Rule
from headrace_policies import reading


def stack_policy(rule: Rule) -> StackValidationPolicy:
    """A rule as a policy over the whole stack. What can't be decided blocks as a violation does."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for finding in engine.run(rule, reading.graph(args.resources)):
            report(message(finding), finding.resource if finding.resource != "stack" else None)

    return StackValidationPolicy(
        name=rule.id,
        description=rule.description,
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
        severity=Severity(rule.severity.value),
        remediation_steps=rule.remediation,
    )


def message(finding: Finding) -> str:
    """What a person reads: the sentence and what to do."""
    lead = "undecidable at preview: " if finding.status is Status.UNDECIDABLE else ""
    return f"{lead}{finding.sentence}. To fix: {finding.remediation}."


POLICIES: Final[list[Policy]] = [stack_policy(rule) for rule in RULES]
