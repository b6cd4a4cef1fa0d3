"""A stack as rules see it: resources, their properties and what these depend on. Without pulumi.

At preview most ids are unknown, but which resource an unknown value will come from is known: `dependencies` holds it
per property, and a rule follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, TypeVar

from headrace.rules.facts import Facts, facts_from_props

FactsRecord = TypeVar("FactsRecord", bound=Facts)


@dataclass(frozen=True)
class Unknown:
    """Stands where a value can't be known before the deployment; `path` is the property's."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource with its wire-named properties (plain values, `Unknown` where not known) and, per property, the URNs
    of the resources that it is made of. `region` is that of the AWS provider that manages it, where one is told."""

    urn: str
    type: str
    name: str
    props: Mapping[str, Any]
    dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    parent: str | None = None
    region: Any = None

    def get(self, name: str) -> Any:
        """A property; None where it is absent."""
        return self.props.get(name)

    @cached_property
    def leaves(self) -> tuple[tuple[str, Any], ...]:
        """Path and value of everything in its properties that is neither map nor list; walked once for all rules."""
        return tuple(leaves(self.props))

    @cached_property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """Path and value of every text in its properties."""
        return tuple((path, value) for path, value in self.leaves if isinstance(value, str))

    @cached_property
    def all_text(self) -> str:
        """Every text in its properties, a line each: one search tells whether any of them can matter to a rule."""
        return "\n".join(text for _, text in self.texts)

    @cached_property
    def record(self) -> Facts | None:
        """The facts that it registered, if it is a component of ours. Raises `FactsError` where they can't be read."""
        facts = self.get("facts") if self.type.startswith(COMPONENTS) else None
        return facts_from_props(facts) if isinstance(facts, Mapping) else None

    def at(self, path: str) -> Any:
        """The value at a dotted path; None where it is absent, `Unknown` where it or what holds it is not known."""
        return at(self.props, path)

    def items(self, path: str) -> Iterator[tuple[str, Any]]:
        """Path and value of each entry of a list; the whole as one `Unknown` where the list is not known."""
        value = self.at(path)
        if isinstance(value, Unknown):
            yield path, value
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                yield f"{path}[{index}]", item


def at(value: Any, path: str) -> Any:
    """The value at a dotted path of nested maps."""
    for part in path.split("."):
        if isinstance(value, Unknown):
            return value
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of everything that is neither map nor list, `Unknown` included."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


COMPONENTS: Final = "headrace:index:"


class Graph:
    """All resources of a stack."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = tuple(resources)

    @cached_property
    def _by_urn(self) -> Mapping[str, Resource]:
        return {resource.urn: resource for resource in self.resources}

    @cached_property
    def _by_type(self) -> Mapping[str, tuple[Resource, ...]]:
        found: dict[str, list[Resource]] = {}
        for resource in self.resources:
            found.setdefault(resource.type, []).append(resource)
        return {type_: tuple(some) for type_, some in found.items()}

    def of(self, type_: str) -> tuple[Resource, ...]:
        """Resources of a type."""
        return self._by_type.get(type_, ())

    def matching(self, prefix: str) -> tuple[Resource, ...]:
        """Resources whose type begins with `prefix`."""
        return tuple(one for type_, some in self._by_type.items() if type_.startswith(prefix) for one in some)

    def vouched(self, urn: str) -> bool:
        """Whether a Headrace component above this resource has registered facts on what it makes."""
        kinds = urn.split("::")[2].split("$") if urn.count("::") >= 3 else []
        return (
            bool(kinds)
            and not kinds[-1].startswith(COMPONENTS)
            and any(kind.startswith(COMPONENTS) for kind in kinds[:-1])
        )

    def sources(self, resource: Resource, name: str, type_: str) -> tuple[Resource, ...]:
        """Resources of a type that a property is made of."""
        found = (self._by_urn.get(urn) for urn in resource.dependencies.get(name, ()))
        return tuple(one for one in found if one is not None and one.type == type_)

    def referring(self, type_: str, name: str, target: Resource) -> tuple[Resource, ...]:
        """Resources of a type whose property `name` is the target: by its id where both are known, else by what the
        property is made of."""
        own_id = target.get("id")
        return tuple(
            one
            for one in self.of(type_)
            if target.urn in one.dependencies.get(name, ()) or (isinstance(own_id, str) and one.get(name) == own_id)
        )

    def facts(self, kind: str) -> Iterable[Mapping[str, Any]]:
        """Facts of a kind that components of the stack have registered."""
        for resource in self.resources:
            facts = resource.get("facts")
            if isinstance(facts, Mapping) and facts.get("kind") == kind:
                yield facts

    def records(self, record: type[FactsRecord]) -> Iterator[tuple[Resource, FactsRecord]]:
        """Facts of a type with the component that registered them. Raises `FactsError` where they can't be read."""
        for resource, read in self._records:
            if isinstance(read, record):
                yield resource, read

    @cached_property
    def _records(self) -> tuple[tuple[Resource, Facts], ...]:
        return tuple(
            (resource, resource.record) for resource in self.matching(COMPONENTS) if resource.record is not None
        )
