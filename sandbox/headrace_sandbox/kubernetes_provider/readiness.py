"""When a kind counts as ready, and what holds it up. Pure: the live object and what belongs to it in, a verdict out.

The rules are those that the official provider states in its documentation of await logic (pulumi.com/registry, package
kubernetes, "Await behavior", read 2026-11-21).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]
_SHOWN = 3  # reasons of pods; more of them say the same


@dataclass(frozen=True, kw_only=True)
class Related:
    """What the verdict on an object also needs, as far as its kind asks for it (see `NEEDS`)."""

    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    slices: Sequence[Object] = ()
    storage_class: Object | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`ready`; otherwise `waiting_for` says for what, `reasons` why it isn't there yet, and `failed` that waiting
    longer is in vain."""

    ready: bool
    waiting_for: str = ""
    reasons: tuple[str, ...] = field(default=())
    failed: bool = False


READY = Verdict(ready=True)


def _conditions(obj: Object) -> dict[str, Object]:
    return {str(c.get("type")): c for c in (obj.get("status") or {}).get("conditions") or []}


def _is_true(condition: Object | None) -> bool:
    return condition is not None and condition.get("status") == "True"


def _count(status: Object, key: str) -> int:
    return int(status.get(key) or 0)


def _observed(obj: Object) -> bool:
    generation = int(obj["metadata"].get("generation") or 0)
    return _count(obj.get("status") or {}, "observedGeneration") >= generation


def pod_reasons(pods: Sequence[Object]) -> tuple[str, ...]:
    """Why pods aren't ready: the scheduler's message, or what a container says."""
    reasons: list[str] = []
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        scheduled = _conditions(pod).get("PodScheduled")
        if scheduled is not None and scheduled.get("status") == "False":
            reasons.append(f"pod {name} is not scheduled: {scheduled.get('message') or scheduled.get('reason')}")
            continue
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            state = container.get("state") or {}
            held = state.get("waiting") or {}
            ended = state.get("terminated") or {}
            if held.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                text = f"{held['reason']}: {held.get('message', '')}".rstrip(": ")
                reasons.append(f"pod {name}, container {container['name']}: {text}")
            elif ended and ended.get("exitCode"):
                reasons.append(f"pod {name}, container {container['name']} ended with exit code {ended['exitCode']}")
    return _summary(reasons)


def _summary(reasons: Sequence[str]) -> tuple[str, ...]:
    distinct = tuple(dict.fromkeys(reasons))
    more = len(distinct) - _SHOWN
    return (*distinct[:_SHOWN], f"and {more} more of the same kind") if more > 0 else distinct


def _event_reasons(events: Sequence[Object]) -> tuple[str, ...]:
    warnings = [event for event in events if event.get("type") == "Warning" and event.get("message")]
    return _summary([str(event["message"]) for event in warnings][-_SHOWN:])


def _unready_pods(pods: Sequence[Object]) -> list[Object]:
    return [pod for pod in pods if not _is_true(_conditions(pod).get("Ready")) and not _is_over(pod)]


def _is_over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Succeeded"


def deployment(obj: Object, related: Related) -> Verdict:
    """The newest template rolled out: all replicas updated and available, none of the old ones left."""
    spec, status, conditions = obj["spec"], obj.get("status") or {}, _conditions(obj)
    wanted = int(spec.get("replicas", 1))
    progressing = conditions.get("Progressing") or {}
    updated, available = _count(status, "updatedReplicas"), _count(status, "availableReplicas")
    if spec.get("paused"):
        return READY
    if _observed(obj) and updated >= wanted and available >= wanted and _count(status, "replicas") <= wanted:
        return READY
    reasons = [str(c["message"]) for c in (conditions.get("ReplicaFailure"),) if c is not None and _is_true(c)]
    reasons += pod_reasons(_unready_pods(related.pods))
    failed = _observed(obj) and progressing.get("reason") == "ProgressDeadlineExceeded"
    if failed:
        reasons.append(str(progressing.get("message")))
    waiting = f"{available} of {wanted} replicas available, {updated} updated"
    return Verdict(ready=False, waiting_for=waiting, reasons=tuple(reasons), failed=failed)


def stateful_set(obj: Object, related: Related) -> Verdict:
    """All replicas ready and, with rolling updates, of the newest revision (above the partition)."""
    spec, status = obj["spec"], obj.get("status") or {}
    wanted, ready = int(spec.get("replicas", 1)), _count(status, "readyReplicas")
    strategy = spec.get("updateStrategy") or {}
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    updated = _count(status, "updatedReplicas")
    rolled = strategy.get("type") == "OnDelete" or updated >= max(0, wanted - partition)
    if _observed(obj) and ready >= wanted and rolled:
        return READY
    reasons = pod_reasons(_unready_pods(related.pods)) or _event_reasons(related.events)
    return Verdict(ready=False, waiting_for=f"{ready} of {wanted} replicas ready, {updated} updated", reasons=reasons)


def daemon_set(obj: Object, related: Related) -> Verdict:
    """A ready, updated pod on every node that should have one; none is fine."""
    status = obj.get("status") or {}
    wanted, ready = _count(status, "desiredNumberScheduled"), _count(status, "numberReady")
    updated = _count(status, "updatedNumberScheduled")
    on_delete = (obj["spec"].get("updateStrategy") or {}).get("type") == "OnDelete"
    if _observed(obj) and ready >= wanted and (on_delete or updated >= wanted):
        return READY
    reasons = pod_reasons(_unready_pods(related.pods)) or _event_reasons(related.events)
    return Verdict(ready=False, waiting_for=f"{ready} of {wanted} pods ready, {updated} updated", reasons=reasons)


def job(obj: Object, related: Related) -> Verdict:
    """Complete; a suspended job isn't waited for."""
    conditions = _conditions(obj)
    if _is_true(conditions.get("Complete")) or obj["spec"].get("suspend"):
        return READY
    failure = conditions.get("Failed")
    if failure is not None and _is_true(failure):
        return Verdict(ready=False, failed=True, reasons=(str(failure.get("message") or failure.get("reason")),))
    wanted, done = int(obj["spec"].get("completions") or 1), _count(obj.get("status") or {}, "succeeded")
    reasons = pod_reasons(_unready_pods(related.pods)) or _event_reasons(related.events)
    return Verdict(ready=False, waiting_for=f"{done} of {wanted} completions", reasons=reasons)


def pod(obj: Object, related: Related) -> Verdict:
    """Ready, or done where it isn't meant to run on."""
    status = obj.get("status") or {}
    phase = status.get("phase")
    if _is_true(_conditions(obj).get("Ready")) or phase == "Succeeded":
        return READY
    reasons = pod_reasons([obj]) or _event_reasons(related.events)
    if phase == "Failed":
        return Verdict(ready=False, failed=True, reasons=(str(status.get("message") or "the pod failed"), *reasons))
    return Verdict(ready=False, waiting_for=f"the pod to be ready (it is {phase or 'Pending'})", reasons=reasons)


def volume_claim(obj: Object, related: Related) -> Verdict:
    """Bound, unless its class binds with the first pod only."""
    phase = (obj.get("status") or {}).get("phase")
    mode = (related.storage_class or {}).get("volumeBindingMode")
    if phase == "Bound" or mode == "WaitForFirstConsumer":
        return READY
    reasons = _event_reasons(related.events)
    return Verdict(ready=False, waiting_for=f"the claim to be bound (it is {phase})", reasons=reasons)


def service(obj: Object, related: Related) -> Verdict:
    """Something ready behind it, and an address where it is a load balancer. Headless, external and selector-less
    services aren't waited for."""
    spec = obj["spec"]
    headless = spec.get("clusterIP") == "None"
    if spec.get("type") == "ExternalName" or headless or not spec.get("selector"):
        return READY
    ready = [
        endpoint
        for piece in related.slices
        for endpoint in piece.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready", True) is not False
    ]
    if not ready:
        reason = "the selected pods are not ready, or no pod carries the labels of the selector"
        return Verdict(ready=False, waiting_for="a ready pod behind the service", reasons=(reason,))
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    if spec.get("type") == "LoadBalancer" and not balancer.get("ingress"):
        reasons = _event_reasons(related.events) or ("no controller has given the load balancer an address",)
        return Verdict(ready=False, waiting_for="an address of the load balancer", reasons=reasons)
    return READY


def definition(obj: Object, _related: Related) -> Verdict:
    """A custom resource definition that the server serves."""
    conditions = _conditions(obj)
    names = conditions.get("NamesAccepted")
    if _is_true(conditions.get("Established")):
        return READY
    if names is not None and names.get("status") == "False":
        return Verdict(ready=False, failed=True, reasons=(str(names.get("message")),))
    return Verdict(ready=False, waiting_for="the definition to be established")


Rule = Callable[[Object, Related], Verdict]


@dataclass(frozen=True, kw_only=True)
class Await:
    """How a kind is waited for: the rule, what it needs, and how long (minutes as in the official provider)."""

    rule: Rule
    minutes: float
    needs: frozenset[str] = frozenset()


_PODS = frozenset({"pods", "events"})
AWAITS: Mapping[tuple[str, str], Await] = {
    ("apps", "Deployment"): Await(rule=deployment, minutes=10, needs=frozenset({"pods"})),
    ("apps", "StatefulSet"): Await(rule=stateful_set, minutes=10, needs=_PODS),
    ("apps", "DaemonSet"): Await(rule=daemon_set, minutes=10, needs=_PODS),
    ("batch", "Job"): Await(rule=job, minutes=10, needs=_PODS),
    ("", "Pod"): Await(rule=pod, minutes=10, needs=frozenset({"events"})),
    ("", "PersistentVolumeClaim"): Await(rule=volume_claim, minutes=10, needs=frozenset({"events", "storage_class"})),
    ("", "Service"): Await(rule=service, minutes=10, needs=frozenset({"slices", "events"})),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Await(rule=definition, minutes=1),
}
DELETE_MINUTES = 10.0


def wait_for(expression: str, obj: Object) -> Verdict:
    """`pulumi.com/waitFor`: `condition=Type[=Status]` or `jsonpath={.a.b}[=value]` (plain field paths only)."""
    kind, _, rest = expression.partition("=")
    if kind == "condition":
        name, _, status = rest.partition("=")
        found = _conditions(obj).get(name) or {}
        ready = found.get("status") == (status or "True")
        reasons = (str(found["message"]),) if found.get("message") and not ready else ()
        return Verdict(ready=ready, waiting_for=f"the condition {rest}", reasons=reasons)
    path, _, wanted = rest.partition("}")
    value: Any = obj
    for step in path.strip("{").strip(".").split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    text = wanted.removeprefix("=")
    ready = value is not None and (not text or str(value) == text)
    return Verdict(ready=ready, waiting_for=f"{path}}}{wanted} (it is {value})")
