"""What a rule is: its metadata, its parameters and its check; and what a check sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from headrace.rules.finding import Finding, Severity
from headrace.rules.graph import Graph, Unknown

if TYPE_CHECKING:  # pydantic costs a third of a second, and a pack must start without it
    from headrace.settings.tree import Settings


class Scope(StrEnum):
    """How much a rule must see. `RESOURCE` decides before each single resource changes; `STACK` compares resources."""

    RESOURCE = "resource"
    STACK = "stack"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number or list of words that an environment may set. `default` also says of which type it is."""

    name: str
    description: str
    default: float | tuple[str, ...]
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The rule is broken by `resource` (a URN, or `settings:<path>`)."""

    resource: str
    sentence: str
    remediation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """What the rule needs is unknown: `what` in words, `value` the path to make known."""

    resource: str
    what: str
    value: str
    remediation: str | None = None


Said = Broken | Undecided | Finding


@dataclass(frozen=True, kw_only=True)
class View:
    """What a check sees. `settings` is None for a program without them; `parameters` are the rule's own."""

    graph: Graph
    today: date
    settings: Settings | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str) -> float:
        """A parameter that is a number."""
        return float(self.parameters[name])

    def words(self, name: str) -> tuple[str, ...]:
        """A parameter that is a list of words."""
        return tuple(self.parameters[name])


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `reads` lists the resource types and facts kinds that it looks at (`*` for every resource, `settings`
    for the stack's settings); `references` are frameworks'. `early` lists the types at whose registration a rule over
    the whole stack can already tell, so that skipping the preview doesn't skip it."""

    id: str
    severity: Severity
    title: str
    description: str
    remediation: str
    references: tuple[str, ...]
    reads: tuple[str, ...]
    since: str
    check: Callable[[View], Iterable[Said]]
    scope: Scope = Scope.STACK
    early: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    advisory: bool = False

    @property
    def defaults(self) -> dict[str, Any]:
        """Parameter -> default."""
        return {one.name: one.default for one in self.parameters}


def undecided(resource: str, unknown: Unknown, what: str, remediation: str | None = None) -> Undecided:
    """`Undecided` for a value that was read as unknown."""
    return Undecided(resource=resource, what=what, value=unknown.path, remediation=remediation)
