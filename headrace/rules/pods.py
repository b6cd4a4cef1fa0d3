"""Pod templates of whatever Kubernetes resource carries one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headrace.rules.graph import Graph, Resource, Unknown, at

# type token without its version -> path of the pod spec
_SPECS: Final = {
    "kubernetes:core/v1:Pod": "spec",
    "kubernetes:apps/v1:Deployment": "spec.template.spec",
    "kubernetes:apps/v1:DaemonSet": "spec.template.spec",
    "kubernetes:apps/v1:StatefulSet": "spec.template.spec",
    "kubernetes:apps/v1:ReplicaSet": "spec.template.spec",
    "kubernetes:batch/v1:Job": "spec.template.spec",
    "kubernetes:batch/v1:CronJob": "spec.jobTemplate.spec.template.spec",
}
KINDS: Final = tuple(_SPECS)
# Key and value of the taint and label of the router's nodes (headrace_components.router_names).
ROUTER_TIER: Final = ("headrace.dev/tier", "router")


def containers(graph: Graph) -> Iterator[tuple[Resource, str, Mapping[str, Any] | Unknown]]:
    """Every container of every workload: resource, path, and the container or `Unknown`."""
    for kind, spec in _SPECS.items():
        for resource in graph.of(kind):
            for group in ("containers", "initContainers"):
                for path, one in resource.items(f"{spec}.{group}"):
                    if isinstance(one, Unknown | Mapping):
                        yield resource, path, one


def namespace_of(resource: Resource) -> Any:
    """The namespace of a Kubernetes object; `default` where it says none."""
    return resource.at("metadata.namespace") or "default"


def name_of(resource: Resource) -> Any:
    """The object's own name; Pulumi's where the cluster makes one up."""
    return resource.at("metadata.name") or resource.name


def images(graph: Graph) -> Iterator[tuple[Resource, str, Any]]:
    """Every container image of the stack: resource, path, image (`Unknown` where not known)."""
    for resource, path, one in containers(graph):
        image = one if isinstance(one, Unknown) else at(one, "image")
        yield resource, f"{path}.image", image
    for type_ in ("headrace:runpod:Endpoint", "headrace:runpod:Template", "headrace:modal:App"):
        for resource in graph.of(type_):
            if resource.get("image") is not None:
                yield resource, "image", resource.get("image")


def of_the_router(graph: Graph) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    """Workloads that ask for the router's nodes, each with its pod's spec. What tolerates every taint doesn't: agents
    that run on all nodes do that."""
    for kind, path in _SPECS.items():
        for resource in graph.of(kind):
            spec = resource.at(path)
            if isinstance(spec, Mapping) and any(
                isinstance(one, Mapping) and (one.get("key"), one.get("value")) == ROUTER_TIER
                for _, one in resource.items(f"{path}.tolerations")
            ):
                yield resource, spec
