"""A plan into a stack's settings.

Floor, ceiling and schedules of a dedicated pool or that it follows its traffic, instances and warm-up of a serverless
pool, spill thresholds of the router. Comments and all other keys stay as they are, and nothing is half-written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from headrace.catalog.load import instance_types
from headrace.catalog.price import Tier, price_book
from headrace.errors import refuse
from headrace.planner.arrays import DAY_HOURS, WEEK_HOURS, Ints
from headrace.settings.stack_text import open_stack

DAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
SCHEDULE_PREFIX: Final = "plan-"
# Prices that differ by less are the same, rounded.
CENT_AN_HOUR: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """What the plan says, in GPUs and instances. schedule, warm: by slot of a day or week, UTC. hourly: the schedule's
    one entry is the least, and the floor follows its traffic from there up. A replica takes `batch` requests at once on
    `gpus_per_replica` GPUs; prices are those of `day`, in US dollars for one GPU's hour, without hidden costs."""

    gpu: str
    gpus_per_replica: int
    batch: int
    day: date
    dedicated_usd_hour: float
    serverless_usd_hour: float
    schedule_gpus: Ints
    ceiling_gpus: int
    hourly: bool = False
    warm_instances: Ints
    max_instances: int
    idle_timeout_s: int
    lead_time_s: float
    max_wait_ms: int
    start_at_percent: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """One key that the plan set: where, what it was, what it is."""

    path: str
    before: object
    after: object


def merge(document: Mapping[str, Any], workload: str, sizing: Sizing) -> list[Change]:
    """Put a plan into a stack document, in place. Only the pools that serve `workload` are touched."""
    config = document["config"]
    changes: list[Change] = []
    dedicated = _pools(config, "dedicatedPools", workload)
    serverless = _pools(config, "serverlessPools", workload)
    if len(dedicated) > 1 or len(serverless) > 1:
        names = ", ".join([*dedicated, *serverless])
        raise refuse(
            "--write",
            workload,
            f"is served by more than one pool of a kind ({names})",
            reason="the plan sizes one floor and one overflow",
            next_step="plan with a workload file for each pool's share of the traffic",
        )
    if not dedicated and not serverless:
        raise refuse(
            "--write",
            workload,
            "is served by no pool of this stack",
            next_step=f"set `name` of the workload file to one of {', '.join(_workloads(config)) or 'its workloads'}",
        )
    for path, gpu, spans, _ in _served(config, workload):
        _same(path, "gpu", sizing.gpu, gpu)
        _same(path, "model.tensorParallel", sizing.gpus_per_replica, spans)
    for name, pool in dedicated.items():
        _dedicated(f"dedicatedPools.{name}", pool, sizing, changes)
    for name, pool in serverless.items():
        _serverless(f"serverlessPools.{name}", pool, sizing, changes)
    if dedicated and serverless:
        spill = _section(_section(config, _key(config, "router")), "spill")
        _set("router.spill", spill, "startAtPercent", sizing.start_at_percent, changes)
        if spill.get("stopAtPercent", 65) >= sizing.start_at_percent:
            _set("router.spill", spill, "stopAtPercent", max(sizing.start_at_percent - 20, 0), changes)
        _set("router.spill", spill, "maxWaitMs", sizing.max_wait_ms, changes)
    return changes


def unlike(document: Mapping[str, Any], workload: str, sizing: Sizing) -> list[str]:
    """Where the stack's pools differ from what the plan counts on without being wrong, a sentence each."""
    config = document["config"]
    said = [
        f"{path} takes {slots} requests at once on a replica, the plan counts on {sizing.batch}: set one to the other "
        "unless the speed in the workload file was measured so"
        for path, _, _, slots in _served(config, workload)
        if slots not in (None, sizing.batch)
    ]
    for path, planned, found in _prices(config, workload, sizing):
        if abs(found - planned) > CENT_AN_HOUR:
            said.append(
                f"{path} costs {found:.2f} USD per GPU and hour by the catalogue, the plan counts on {planned:.2f}: "
                "right if you have that price, else name the pool's provider and tier in the workload file"
            )
    return said


def _prices(config: Mapping[str, Any], workload: str, sizing: Sizing) -> Iterator[tuple[str, float, float]]:
    """Path of a pool, what the plan counts on and what the catalogue says, USD per GPU and hour."""
    book = price_book()
    for name, pool in _pools(config, "dedicatedPools", workload).items():
        kind = str(pool.get("instanceType"))
        machine = book.machine(kind, str(config.get("aws:region")), sizing.day)
        if machine is not None and kind in instance_types():
            found = float(machine.usd_per_hour) / instance_types()[kind].gpu_count
            yield f"dedicatedPools.{name}", sizing.dedicated_usd_hour, found
    for name, pool in _pools(config, "serverlessPools", workload).items():
        row = book.known(str(pool.get("provider")), str(pool.get("gpu")), Tier.FLEX, sizing.day)
        if row is not None:
            yield f"serverlessPools.{name}", sizing.serverless_usd_hour, float(row.usd_per_hour)


def _served(config: Mapping[str, Any], workload: str) -> Iterator[tuple[str, str | None, int | None, int | None]]:
    """Pools of a workload: path, GPU, GPUs that a replica spans, requests at once. None where the stack doesn't say."""
    for name, pool in _pools(config, "dedicatedPools", workload).items():
        machine = instance_types().get(str(pool.get("instanceType")))
        spans = _spans(config, workload, pool)
        yield f"dedicatedPools.{name}", machine.gpu if machine else None, spans, pool.get("slotsPerReplica")
    for name, pool in _pools(config, "serverlessPools", workload).items():
        spans = _spans(config, workload, pool)
        yield f"serverlessPools.{name}", pool.get("gpu"), spans, pool.get("concurrencyPerInstance")


def _spans(config: Mapping[str, Any], workload: str, pool: Mapping[str, Any]) -> int | None:
    """GPUs of one replica, by the release that the pool runs."""
    workloads, releases = (config.get(_key(config, name)) or {} for name in ("workloads", "releases"))
    release = releases.get(pool.get("release") or (workloads.get(workload) or {}).get("release"))
    return int(release.get("tensorParallel") or 1) if release else None


def _same(path: str, name: str, planned: object, found: object) -> None:
    if found is not None and found != planned:
        raise refuse(
            f"the workload file's {name}",
            planned,
            f"is not what the stack's {path} has ({found})",
            reason="sizes for the one are wrong for the other",
            next_step=f"plan with `{name}: {found}`, its speed and its prices",
        )


def _key(config: Mapping[str, Any], name: str) -> str:
    return name if name in config and f"inference:{name}" not in config else f"inference:{name}"


def _pools(config: Mapping[str, Any], name: str, workload: str) -> dict[str, MutableMapping[str, Any]]:
    pools = config.get(_key(config, name)) or {}
    return {pool: values for pool, values in pools.items() if values.get("workload") == workload}


def _workloads(config: Mapping[str, Any]) -> list[str]:
    return sorted(config.get(_key(config, "workloads")) or {})


def _section(parent: MutableMapping[str, Any], key: str) -> MutableMapping[str, Any]:
    if not parent.get(key):
        parent[key] = CommentedMap()
    section: MutableMapping[str, Any] = parent[key]
    return section


def _set(path: str, section: MutableMapping[str, Any], key: str, value: object, changes: list[Change]) -> None:
    before = section.get(key)
    if before != value:
        section[key] = value
        changes.append(Change(path=f"{path}.{key}", before=before, after=value))


def _dedicated(path: str, pool: MutableMapping[str, Any], sizing: Sizing, changes: list[Change]) -> None:
    per_node = nodes_of(str(pool["instanceType"]))
    nodes = [math.ceil(int(gpus) / per_node) for gpus in sizing.schedule_gpus]
    # The ceiling is a limit that quotas rely on: a plan may need a higher one, but never lowers it.
    ceiling = max(math.ceil(sizing.ceiling_gpus / per_node), int(pool.get("ceilingNodes") or 1), *nodes)
    _set(path, pool, "floorNodes", min(nodes), changes)
    _set(path, pool, "ceilingNodes", ceiling, changes)
    entries = CommentedSeq(schedule_entries(nodes, ceiling, sizing.lead_time_s))
    before = [dict(item) for item in pool.get("schedules") or []]
    if [dict(item) for item in entries] != before:
        changes.append(Change(path=f"{path}.schedules", before=_names(before), after=_names(entries)))
        if entries:
            pool["schedules"] = entries
        else:
            pool.pop("schedules", None)
    _hourly(path, pool, sizing, changes)


def _hourly(path: str, pool: MutableMapping[str, Any], sizing: Sizing, changes: list[Change]) -> None:
    """The floor that follows its traffic, or none where the plan says a constant or a schedule."""
    if sizing.hourly:
        following = _section(pool, "hourlyFloor")
        _set(f"{path}.hourlyFloor", following, "leadTimeS", round(sizing.lead_time_s), changes)
    elif "hourlyFloor" in pool:
        changes.append(Change(path=f"{path}.hourlyFloor", before=dict(pool["hourlyFloor"] or {}), after=None))
        del pool["hourlyFloor"]


def _names(schedules: Sequence[Mapping[str, object]]) -> str:
    return ", ".join(str(item["name"]) for item in schedules) or "none"


def nodes_of(instance_type: str) -> int:
    """GPUs of one node of this instance type; refused if unknown."""
    if instance_type not in instance_types():
        raise refuse(
            "instanceType", instance_type, "is not in the catalogue of instance types", next_step="correct the stack"
        )
    return instance_types()[instance_type].gpu_count


def schedule_entries(nodes: list[int], ceiling: int, lead_time_s: float) -> list[CommentedMap]:
    """One scheduled scaling per change of a daily (24) or weekly (168) pattern, UTC.

    A rise is scheduled its lead time earlier, so that the nodes are ready when the hour begins; a fall at the hour.
    """
    entries = []
    for slot, wanted in enumerate(nodes):
        before = nodes[slot - 1]
        if wanted == before:
            continue
        minute = slot * 60 - (math.ceil(lead_time_s / 60) if wanted > before else 0)
        minute %= len(nodes) * 60
        day, minute_of_day = divmod(minute, DAY_HOURS * 60)
        hour, minute_of_hour = divmod(minute_of_day, 60)
        weekday = DAYS[day] if len(nodes) == WEEK_HOURS else "*"
        name = (
            f"{DAYS[slot // DAY_HOURS].lower()}-{slot % DAY_HOURS:02d}h" if len(nodes) == WEEK_HOURS else f"{slot:02d}h"
        )
        entry = CommentedMap(
            name=f"{SCHEDULE_PREFIX}{name}",
            cron=f"{minute_of_hour} {hour} * * {weekday}",
            timeZone="UTC",
            floorNodes=wanted,
            ceilingNodes=ceiling,
        )
        entry.fa.set_flow_style()
        entries.append(entry)
    return entries


def _serverless(path: str, pool: MutableMapping[str, Any], sizing: Sizing, changes: list[Change]) -> None:
    warm = [int(count) for count in sizing.warm_instances]
    _set(path, pool, "minInstances", min(warm), changes)
    _set(path, pool, "maxInstances", max(sizing.max_instances, max(warm), 1), changes)
    _set(path, pool, "idleTimeoutS", max(sizing.idle_timeout_s, 2), changes)
    windows = warm_windows(warm)
    if [dict(item) for item in pool.get("warmUp") or []] != [dict(item) for item in windows]:
        changes.append(Change(path=f"{path}.warmUp", before=len(pool.get("warmUp") or []), after=len(windows)))
        if windows:
            pool["warmUp"] = windows
        else:
            pool.pop("warmUp", None)


def warm_windows(warm: list[int]) -> CommentedSeq:
    """Hours of the week (Monday 00:00 is 0) by minimum instances, for hours above the least."""
    weekly = warm if len(warm) == WEEK_HOURS else [warm[hour % len(warm)] for hour in range(WEEK_HOURS)]
    windows = CommentedSeq()
    for count in sorted({value for value in weekly if value > min(weekly)}):
        hours = CommentedSeq([hour for hour, value in enumerate(weekly) if value == count])
        hours.fa.set_flow_style()
        windows.append(CommentedMap(hours=hours, minInstances=count, timeZone="UTC"))
    return windows


def write(path: Path, workload: str, sizing: Sizing) -> tuple[list[Change], list[str]]:
    """Merge into a stack file; refused, and the file untouched, if the result would not be valid settings. The second
    answer is `unlike`."""
    stack = open_stack(path)
    changes = merge(stack.document, workload, sizing)
    if changes:
        stack.save()
    return changes, unlike(stack.document, workload, sizing)
