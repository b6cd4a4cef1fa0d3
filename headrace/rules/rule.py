"""What a rule is: its metadata and its check."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headrace.rules.finding import Finding, Severity
from headrace.rules.graph import Graph


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `reads` lists the resource types and facts kinds that it looks at; `references` are frameworks'."""

    id: str
    severity: Severity
    title: str
    description: str
    remediation: str
    references: tuple[str, ...]
    reads: tuple[str, ...]
    since: str
    check: Callable[[Graph], Iterable[Finding]]
