"""Polling the API server until an object is ready or gone, and saying why when it isn't."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace_sandbox.kubernetes_provider import readiness
from headrace_sandbox.kubernetes_provider.client import ApiError, Client, Kind
from headrace_sandbox.kubernetes_provider.readiness import Related, Verdict
from headrace_sandbox.kubernetes_provider.shape import annotation

SKIP = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
WAIT_FOR = "pulumi.com/waitFor"
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
Tell = Callable[[str], None]


class NotReady(Exception):
    """The object lives but isn't ready: `live` as last seen, `reasons` for the person."""

    def __init__(self, live: Mapping[str, Any], reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.live = live
        self.reasons = reasons


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """`tell` shows progress; `cancelled` ends a wait."""

    client: Client
    cancelled: threading.Event
    tell: Tell

    def until_ready(self, kind: Kind, live: Mapping[str, Any], timeout_s: float | None) -> Mapping[str, Any]:
        """The object once it is ready. Raises NotReady with the true reason when time is up, when it can't become
        ready, or on cancellation."""
        if is_skipped(live):
            return live
        deadline = time.monotonic() + limit_s(kind, live, timeout_s)
        pause, said = _FIRST_PAUSE_S, ""
        while True:
            verdict = self.verdict(kind, live)
            if verdict.ready:
                return live
            if verdict.failed:
                raise NotReady(live, verdict.reasons or ("it failed",))
            text = verdict.waiting_for + (f" ({verdict.reasons[0]})" if verdict.reasons else "")
            if text != said:
                self.tell(f"waiting for {text}")
                said = text
            if time.monotonic() >= deadline:
                seconds = limit_s(kind, live, timeout_s)
                raise NotReady(live, (f"not ready after {seconds:.0f} s: {verdict.waiting_for}", *verdict.reasons))
            if self.cancelled.wait(min(pause, max(0.0, deadline - time.monotonic()))):
                raise NotReady(live, (f"the wait was cancelled: {verdict.waiting_for}", *verdict.reasons))
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
            live = self._reread(kind, live)

    def until_gone(self, kind: Kind, live: Mapping[str, Any], timeout_s: float | None) -> None:
        """Return once the object (this one, by uid) is gone. Raises NotReady naming the finalizers that hold it."""
        metadata = live["metadata"]
        limit = _annotated_s(live) or timeout_s or readiness.DELETE_MINUTES * 60
        deadline, pause = time.monotonic() + limit, _FIRST_PAUSE_S
        while True:
            now = self.client.get(kind, metadata.get("namespace"), metadata["name"])
            if now is None or now["metadata"].get("uid") != metadata.get("uid"):
                return
            if time.monotonic() >= deadline or self.cancelled.is_set():
                raise NotReady(now, (f"not gone after {limit:.0f} s", *_holding(now)))
            self.tell("waiting for the object to go")
            self.cancelled.wait(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def verdict(self, kind: Kind, live: Mapping[str, Any]) -> Verdict:
        """Whether the object is ready at this moment."""
        expressions = annotation(live, WAIT_FOR)
        if expressions:
            wanted = json.loads(expressions) if expressions.startswith("[") else [expressions]
            verdicts = [readiness.wait_for(expression, live) for expression in wanted]
            return next((verdict for verdict in verdicts if not verdict.ready), readiness.READY)
        rule = readiness.AWAITS.get((kind.group, kind.kind))
        return readiness.READY if rule is None else rule.rule(live, self._related(kind, live, rule.needs))

    def _reread(self, kind: Kind, live: Mapping[str, Any]) -> Mapping[str, Any]:
        metadata = live["metadata"]
        now = self.client.get(kind, metadata.get("namespace"), metadata["name"])
        if now is None:
            raise NotReady(live, ("someone deleted the object while it was waited for",))
        return now

    def _related(self, kind: Kind, live: Mapping[str, Any], needs: frozenset[str]) -> Related:
        metadata, spec = live["metadata"], live.get("spec") or {}
        namespace = metadata.get("namespace")
        root = f"/api/v1/namespaces/{namespace}"
        pods = events = slices = ()  # type: tuple[Any, ...]
        storage_class = None
        if "pods" in needs:
            selector = (spec.get("selector") or {}).get("matchLabels") or {}
            text = ",".join(f"{key}={value}" for key, value in selector.items())
            pods = tuple(self._list(f"{root}/pods", labelSelector=text)) if text else ()
        if "events" in needs:
            events = tuple(self._list(f"{root}/events", fieldSelector=f"involvedObject.uid={metadata.get('uid')}"))
        if "slices" in needs:
            slices = tuple(
                self._list(
                    f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                    labelSelector=f"kubernetes.io/service-name={metadata['name']}",
                )
            )
        if "storage_class" in needs and spec.get("storageClassName"):
            found = self.client.kind("storage.k8s.io/v1", "StorageClass")
            storage_class = self.client.get(found, None, spec["storageClassName"]) if found else None
        return Related(pods=pods, events=events, slices=slices, storage_class=storage_class)

    def _list(self, path: str, **query: str) -> list[dict[str, Any]]:
        # Reasons are a help: a principal that may not list pods or events still gets its object.
        try:
            return self.client.list(path, **query)
        except ApiError as refusal:
            if refusal.code in (401, 403):
                return []
            raise


def is_skipped(obj: Mapping[str, Any]) -> bool:
    """Whether the object says not to wait for it."""
    return annotation(obj, SKIP).lower() == "true"


def limit_s(kind: Kind, obj: Mapping[str, Any], timeout_s: float | None) -> float:
    """Seconds to wait: the annotation, else the program's custom timeout, else the kind's default."""
    rule = readiness.AWAITS.get((kind.group, kind.kind))
    return _annotated_s(obj) or timeout_s or (rule.minutes if rule else 10.0) * 60


def _annotated_s(obj: Mapping[str, Any]) -> float | None:
    text = annotation(obj, TIMEOUT)
    return float(text) if text.replace(".", "", 1).isdigit() else None


def _holding(obj: Mapping[str, Any]) -> tuple[str, ...]:
    finalizers = [*(obj["metadata"].get("finalizers") or []), *((obj.get("spec") or {}).get("finalizers") or [])]
    conditions = [
        str(c.get("message"))
        for c in (obj.get("status") or {}).get("conditions") or []
        if c.get("status") == "True" and c.get("message") and "Deletion" in str(c.get("type")) + str(c.get("reason"))
    ]
    held = (f"held by {', '.join(finalizers)}",) if finalizers else ()
    return (*held, *conditions)
