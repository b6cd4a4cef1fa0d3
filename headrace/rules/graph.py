"""A stack as rules see it: resources, their properties and what these depend on. Without pulumi.

At preview most ids are unknown, but which resource an unknown value will come from is known: `dependencies` holds it
per property, and a rule follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Unknown:
    """Stands where a value can't be known before the deployment; `path` is the property's."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource with its wire-named properties (plain values, `Unknown` where not known) and, per property, the URNs
    of the resources that it is made of."""

    urn: str
    type: str
    name: str
    props: Mapping[str, Any]
    dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    parent: str | None = None

    def get(self, name: str) -> Any:
        """A property; None where it is absent."""
        return self.props.get(name)


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
