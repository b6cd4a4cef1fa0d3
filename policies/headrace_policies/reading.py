"""From the engine's resources to the rules' graph: proxies in, plain values and `Unknown` out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_policy import PolicyResource, ResourceValidationArgs
from pulumi_policy.proxy import UnknownValueError

from headrace.rules.graph import Graph, Resource, Unknown


@dataclass
class Kept:
    """The graph of the run that is going on, and which policies have asked for it."""

    urns: tuple[str, ...] = ()
    graph: Graph | None = None
    served: set[str] = field(default_factory=set)


_KEPT = Kept()


def stack(resources: Sequence[PolicyResource], asker: str) -> Graph:
    """Every resource of a stack. The engine hands the same resources to one policy after the other, each once; so they
    are read once, and a policy that asks again is a new run."""
    urns = tuple(one.urn for one in resources)
    if _KEPT.graph is None or _KEPT.urns != urns or asker in _KEPT.served:
        _KEPT.urns, _KEPT.graph, _KEPT.served = urns, graph(resources), set()
    _KEPT.served.add(asker)
    return _KEPT.graph


def graph(resources: Iterable[PolicyResource]) -> Graph:
    """A graph of these resources."""
    return Graph(resource(one) for one in resources)


def resource(one: PolicyResource) -> Resource:
    """One resource with its dependencies by URN."""
    return Resource(
        urn=one.urn,
        type=one.resource_type,
        name=one.name,
        props=overlay(_INPUTS.get(one.urn, {}), _props(one.props)),
        dependencies={
            name: tuple(source.urn for source in sources) for name, sources in one.property_dependencies.items()
        },
        parent=one.parent.urn if one.parent else None,
        region=_region(one.provider),
    )


def single(args: ResourceValidationArgs) -> Resource:
    """The resource that is about to change, by its inputs."""
    return Resource(
        urn=args.urn,
        type=args.resource_type,
        name=args.name,
        props=_props(args.props),
        region=_region(args.provider),
    )


# Inputs by URN, told before each resource changes. At preview a provider may answer with less than it was given: the
# Kubernetes one with nothing at all while its cluster is yet to be made.
_INPUTS: dict[str, Mapping[str, Any]] = {}


def remember(one: Resource) -> None:
    """Keeps a resource's inputs, for the policies that see it next and for the graph of the whole stack."""
    _INPUTS[one.urn] = one.props
    _CURRENT[:] = [one]


_CURRENT: list[Resource] = []


def current(args: ResourceValidationArgs) -> Resource:
    """The resource that is about to change, read once for all policies: the first of them remembers it anew."""
    return _CURRENT[0] if _CURRENT and _CURRENT[0].urn == args.urn else single(args)


def overlay(inputs: Any, outputs: Any) -> Any:
    """Outputs where they are known, inputs where they are not."""
    if isinstance(outputs, Unknown) or outputs is None:
        return outputs if inputs is None else inputs
    if isinstance(outputs, dict) and isinstance(inputs, Mapping):
        return {**outputs, **{key: overlay(value, outputs.get(key)) for key, value in inputs.items()}}
    if isinstance(outputs, list) and isinstance(inputs, list) and len(outputs) == len(inputs):
        return [overlay(one, other) for one, other in zip(inputs, outputs, strict=True)]
    return outputs


def _props(props: Any) -> dict[str, Any]:
    return {str(key): item(props, key, str(key)) for key in props}


def _region(provider: Any) -> Any:
    if provider is None or getattr(provider, "resource_type", "") != "pulumi:providers:aws":
        return None
    return item(provider.props, "region", "region of the provider") if "region" in list(provider.props) else None


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
