"""The serverless endpoints of a stack as they are now: workers, queue, placement, and what differs from the stack."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.protocol.values import UNKNOWN, Props
from headrace_components.provider import compare
from headrace_components.provider.fields import Field
from headrace_components.provider.resource import Call, ProviderError, ResourceType, keep_equal
from headrace_components.provider.table import RESOURCES
from headrace_components.provider.vendors import Vendors

ENDPOINT: Final = "headrace:runpod:Endpoint"
APP: Final = "headrace:modal:App"
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"  # marks a secret in an exported state
_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class EndpointStatus:
    """One endpoint, live. `placed` counts workers by GPU and place. `drift` names the properties that differ from the
    stack; `problem` says why the rest is not known."""

    pool: str
    vendor: str
    id: str
    min_instances: int | None = None
    max_instances: int | None = None
    workers: Mapping[str, int] | None = None
    waiting: int | None = None
    placed: Mapping[str, int] | None = None
    drift: tuple[str, ...] = ()
    problem: str = ""


async def statuses(resources: Iterable[Mapping[str, Any]], vendors: Vendors) -> list[EndpointStatus]:
    """The state's endpoints and apps, each asked for live; one that fails does not hide the others."""
    ours = [one for one in resources if one.get("type") in (ENDPOINT, APP) and one.get("id")]
    return list(await asyncio.gather(*(_status(one, vendors) for one in ours)))


async def _status(resource: Mapping[str, Any], vendors: Vendors) -> EndpointStatus:
    token, id = str(resource["type"]), str(resource["id"])
    pool = str(resource["urn"]).rpartition("::")[2]
    vendor = token.split(":")[1]
    call = Call(
        urn=str(resource["urn"]),
        vendors=vendors,
        deadline=time.monotonic() + _TIMEOUT_S,
        cancelled=asyncio.Event(),
        log=lambda message, *, warning=False: None,
    )
    kind = RESOURCES[token]
    try:
        live = await kind.read(call, id, _readable(resource.get("outputs", {})))
        if live is None:
            return EndpointStatus(pool=pool, vendor=vendor, id=id, drift=("(deleted)",))
        workers, waiting, placed = await (_runpod if token == ENDPOINT else _modal)(call, id)
    except ProviderError as error:
        return EndpointStatus(pool=pool, vendor=vendor, id=id, problem=str(error))
    bounds = live.inputs.get("workers") or {
        "min": live.inputs.get("minContainers"),
        "max": live.inputs.get("maxContainers"),
    }
    return EndpointStatus(
        pool=pool,
        vendor=vendor,
        id=id,
        min_instances=bounds.get("min"),
        max_instances=bounds.get("max"),
        workers=workers,
        waiting=waiting,
        placed=placed,
        drift=drift(kind, resource, live.inputs),
    )


def drift(kind: ResourceType, resource: Mapping[str, Any], live: Props) -> tuple[str, ...]:
    """Paths at which the live object differs from the stack. Encrypted values can't be compared and are left out."""
    inputs, outputs = _readable(resource.get("inputs", {})), _readable(resource.get("outputs", {}))
    seen = keep_equal(kind.fields, inputs, live, outputs)
    found = compare.changes(kind.fields, seen, inputs)
    return tuple(sorted(path for path in found if not _hidden(kind.fields, inputs, path)))


def _hidden(fields: Mapping[str, Field], inputs: Props, path: str) -> bool:
    top = path.split(".", 1)[0].split("[", 1)[0]
    value = inputs.get(top)
    if isinstance(value, dict):
        key = path[len(top) :].strip('.["]')
        value = value.get(key, value)
    return value is UNKNOWN or fields[top].secret


def _readable(value: Any) -> Any:
    """An exported value; what is encrypted is unknown, and whole numbers are whole."""
    if isinstance(value, Mapping):
        if _SIGNATURE in value:
            return UNKNOWN
        return {key: _readable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_readable(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


async def _runpod(call: Call, id: str) -> tuple[dict[str, int], int | None, dict[str, int]]:
    listed = await call.vendors.runpod().get(call, f"/serverless/{id}/workers") or {}
    placed = Counter(
        f"{worker.get('gpuCount', 1)} x {worker['gpuTypeId']} in {worker.get('dataCenterId') or '?'}"
        for worker in listed.get("workers", [])
        if worker.get("gpuTypeId")
    )
    summary = {name: int(count) for name, count in listed.get("summary", {}).items()}
    health = await asyncio.to_thread(job_health, call.vendors, id)
    waiting = None if health is None else int(health.get("jobs", {}).get("inQueue", 0))
    return summary, waiting, dict(placed)


def job_health(vendors: Vendors, id: str) -> dict[str, Any] | None:
    """The job plane's view of an endpoint through the vendor's SDK; None where it doesn't answer (load balancers have
    no queue)."""
    import requests
    import runpod  # type: ignore[import-untyped] # the SDK ships no types

    try:
        found: dict[str, Any] = runpod.Endpoint(id, api_key=vendors.option("runpodApiKey")).health(timeout=10)
    except (requests.RequestException, RuntimeError, ValueError):
        return None
    return found


def warm(vendors: Vendors, id: str, payload: Mapping[str, Any], *, timeout_s: int) -> Any:
    """Run one job to the end, so that a worker is warm; its output."""
    import requests
    import runpod

    try:
        return runpod.Endpoint(id, api_key=vendors.option("runpodApiKey")).run_sync(dict(payload), timeout=timeout_s)
    except (requests.RequestException, RuntimeError, TimeoutError) as error:
        # The SDK's own text may hold the address but never the key; its type is enough either way.
        raise ProviderError(f"RunPod did not run the job on {id} ({type(error).__name__})") from error


async def _modal(call: Call, id: str) -> tuple[dict[str, int], int | None, dict[str, int]]:
    stats = await asyncio.to_thread(call.vendors.modal().stats, id)
    if stats is None:
        return {}, None, {}
    waiting, running = stats
    return {"running": running, "total": running}, waiting, {}
