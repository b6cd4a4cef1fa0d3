"""Runs rules. Nothing is skipped: a rule that fails says so as a finding that blocks."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.rules.finding import Finding, Status
from headrace.rules.graph import Graph
from headrace.rules.rule import Rule


def evaluate(graph: Graph, rules: Iterable[Rule]) -> tuple[Finding, ...]:
    """All findings, in the order of rules. No rule at all is a mistake of the caller, not a clean result."""
    chosen = tuple(rules)
    if not chosen:
        raise ValueError("no rule was chosen: an empty check would pass everything")
    return tuple(finding for rule in chosen for finding in run(rule, graph))


def run(rule: Rule, graph: Graph) -> tuple[Finding, ...]:
    """Findings of one rule; its own fault is an undecidable finding on the stack."""
    try:
        return tuple(rule.check(graph))
    except Exception as error:  # a rule that breaks must not let the stack through
        return (
            Finding(
                rule=rule.id,
                severity=rule.severity,
                status=Status.UNDECIDABLE,
                resource="stack",
                sentence=f"the rule itself failed with {type(error).__name__}: {error}",
                remediation="report it with the stack's preview; until then nothing is known about this rule",
            ),
        )
