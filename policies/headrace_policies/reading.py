"""From the engine's resources to the rules' graph: proxies in, plain values and `Unknown` out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pulumi_policy import PolicyResource
from pulumi_policy.proxy import UnknownValueError

from headrace.rules.graph import Graph, Resource, Unknown


def graph(resources: Iterable[PolicyResource]) -> Graph:
    """Every resource of a stack."""
    return Graph(resource(one) for one in resources)


def resource(one: PolicyResource) -> Resource:
    """One resource with its dependencies by URN."""
    return Resource(
        urn=one.urn,
        type=one.resource_type,
        name=one.name,
        props={str(key): item(one.props, key, str(key)) for key in one.props},
        dependencies={
            name: tuple(source.urn for source in sources) for name, sources in one.property_dependencies.items()
        },
        parent=one.parent.urn if one.parent else None,
    )


def item(container: Any, key: Any, path: str) -> Any:
    """One value of a proxy. Reading an unknown one raises, which would turn the whole policy into advice."""
    try:
        value = container[key]
    except UnknownValueError:
        return Unknown(path)
    return plain(value, path)


def plain(value: Any, path: str) -> Any:
    """A value without proxies."""
    if isinstance(value, Mapping):
        return {str(key): item(value, key, f"{path}.{key}") for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [item(value, index, f"{path}[{index}]") for index in range(len(value))]
    return value
