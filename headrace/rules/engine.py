"""Runs rules. Nothing is skipped: a rule that fails says so as a finding that blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from headrace.rules.finding import Finding, Status
from headrace.rules.graph import Graph
from headrace.rules.rule import Broken, Rule, Said, Undecided, View


def evaluate(
    view: View, rules: Iterable[Rule], parameters: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Finding, ...]:
    """All findings, in the order of rules. No rule at all is a mistake of the caller, not a clean result.

    `parameters` are by rule id; what is left out has the rule's default.
    """
    chosen = tuple(rules)
    if not chosen:
        raise ValueError("no rule was chosen: an empty check would pass everything")
    given = parameters or {}
    return tuple(finding for rule in chosen for finding in run(rule, view, given.get(rule.id)))


def run(rule: Rule, view: View, parameters: Mapping[str, Any] | None = None) -> tuple[Finding, ...]:
    """Findings of one rule, each once; its own fault is an undecidable finding on the stack."""
    try:
        said = tuple(rule.check(replace(view, parameters={**rule.defaults, **(parameters or {})})))
        found = [finding for one in said if (finding := _finding(rule, view.graph, one)) is not None]
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
    return tuple(dict.fromkeys(found))


def _finding(rule: Rule, graph: Graph, said: Said) -> Finding | None:
    if isinstance(said, Broken):
        return Finding(
            rule=rule.id,
            severity=rule.severity,
            status=Status.VIOLATION,
            resource=said.resource,
            sentence=said.sentence,
            remediation=said.remediation or rule.remediation,
        )
    if isinstance(said, Undecided):
        # The component above has registered as facts what its own resources will be, and those are judged.
        if graph.vouched(said.resource):
            return None
        return Finding(
            rule=rule.id,
            severity=rule.severity,
            status=Status.UNDECIDABLE,
            resource=said.resource,
            sentence=f"{said.what} is not known: {said.value}",
            remediation=said.remediation
            or f"make {said.value} known before the deployment: write it as a plain value, or leave the resource to a "
            "Headrace component, which registers it as a fact",
        )
    return said
