"""The whole way from a traffic file to an answer: what `headrace plan`, `advise`, `compare` and `report` print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np

from headrace.catalog.price import Price, PriceBook, price_book
from headrace.planner.arrays import BINS_PER_HOUR, Floats, Ints
from headrace.planner.commitment import DROPS, Commitment, CommitmentAdvice, advise
from headrace.planner.coupled import (
    Feasible,
    GpuType,
    Infeasible,
    Limits,
    Outcome,
    Reservation,
    Unanswered,
    solve,
)
from headrace.planner.ingest import ingest
from headrace.planner.levels import level_tables
from headrace.planner.planning import Assumption, Constraints, Plan, make_plan
from headrace.planner.schedule import slot_costs, slot_of_hour
from headrace.planner.service import BANDWIDTH_EFFICIENCY, COMPUTE_EFFICIENCY, ServiceModel
from headrace.planner.slo import SPARE_WORKERS, Attainment, SloResult, attainment, replay, single_pool, synthesise
from headrace.planner.statistics import Pooling, Profile, pooling, profile
from headrace.planner.traffic import Traffic
from headrace.planner.workload import Workload, read_workload, service_of, tariff_of

SLOTS: Final = 24
# A request that finds the floor full waits this share of its time-to-first-token objective before it spills.
WAIT_SHARE: Final = 0.25
TYPICAL_TOKENS: Final = (512.0, 256.0)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Everything that the commands and the report print. Counts are replicas unless a name says GPUs."""

    workload: Workload
    traffic: Traffic
    service: ServiceModel
    profile: Profile
    plan: Plan
    slo: SloResult
    all_dedicated: Attainment
    all_serverless: Attainment
    pooling: dict[str, Pooling]
    commitments: tuple[CommitmentAdvice, ...]
    coupled: Outcome | None
    prices: tuple[Price, ...]
    stale: tuple[str, ...]
    day: date

    @property
    def gpus_per_replica(self) -> int:
        return self.service.gpus_per_replica


def answer(
    traffic_path: str,
    workload_path: Path,
    *,
    day: date,
    prices: Path | None = None,
    only: Mapping[str, str] | None = None,
    demand_factor: float = 1.0,
    hourly: bool = False,
) -> Answer:
    """Read, plan and check. `day` is the day whose prices hold; `hourly`: whether the floor may follow its traffic."""
    workload = read_workload(workload_path)
    book = price_book(prices)
    tariff, rows = tariff_of(workload, book, day)
    traffic, service = ingest(traffic_path, workload, folder=workload_path.parent, only=only)
    demand = traffic.demand if demand_factor == 1.0 else traffic.demand.scaled(demand_factor)
    limits = replace(constraints_of(workload, book, rows), hourly=hourly)
    plan = make_plan(demand, tariff, limits, assumptions(workload, service, rows, traffic))
    slo, alone = _slo(workload, traffic, service, plan, limits, demand_factor)
    return Answer(
        workload=workload,
        traffic=traffic,
        service=service,
        profile=profile(demand),
        plan=plan,
        slo=slo,
        all_dedicated=alone[0],
        all_serverless=alone[1],
        pooling={name: pooling(groups, tariff) for name, groups in traffic.by_group.items() if len(groups) > 1},
        commitments=commitments(workload, plan),
        coupled=_coupled(workload, plan, limits),
        prices=rows,
        stale=tuple(book.stale(day, rows=rows)),
        day=day,
    )


def constraints_of(workload: Workload, book: PriceBook, rows: tuple[Price, ...]) -> Constraints:
    """Limits in replicas."""
    gpus = workload.model.tensor_parallel
    cap = workload.serverless.maximum_gpus
    if cap is None:
        known = [book.rules(row.provider).concurrent_gpus for row in rows if row.tier.serverless]
        cap = next((value for value in known if value is not None), None)
    return Constraints(
        lead_time_s=workload.dedicated.lead_time_s,
        dedicated_cap=None if workload.dedicated.maximum_gpus is None else workload.dedicated.maximum_gpus // gpus,
        serverless_cap=None if cap is None else cap // gpus,
        cold_start_worth_usd=workload.cold_start_penalty_usd,
        operations_usd_per_month=workload.operations_usd_per_month,
        batch_replica_hours_per_day=workload.batch.gpu_hours_per_day / gpus,
        gpus_per_replica=gpus,
    )


def assumptions(
    workload: Workload, service: ServiceModel, rows: tuple[Price, ...], traffic: Traffic
) -> tuple[Assumption, ...]:
    """Every number that the answer stands on and that the traffic doesn't tell."""
    listed = [
        Assumption(
            name=f"price {row.provider} {row.gpu} {row.tier}",
            value=f"{row.usd} USD per {row.per}",
            source=row.source,
            as_of=str(row.checked),
        )
        for row in rows
    ]
    listed += [
        Assumption(
            name="service speed of a replica",
            value=f"{service.prefill_tokens_s:,.0f} prefill and {service.decode_tokens_s:,.0f} decode tokens/s",
            source=service.source,
        ),
        Assumption(
            name="utilisation aimed at", value=f"{workload.target_utilization:.0%}", source="workload file or default"
        ),
        Assumption(
            name="hidden costs on the dedicated price",
            value=f"x {workload.dedicated.overhead_factor:g}",
            source="workload file; the essays say 1.4 to 1.6 and count idle time in, which the model already does",
        ),
        Assumption(
            name="lead time of a dedicated GPU",
            value=f"{workload.dedicated.lead_time_s:g} s, paid",
            source="workload file or default",
        ),
        Assumption(
            name="cold start",
            value=f"{workload.serverless.cold_start_s:g} s, billed",
            source="workload file or default",
        ),
        Assumption(
            name="operations of a hybrid",
            value=f"{workload.operations_usd_per_month:,.0f} USD a month",
            source="workload file",
        ),
    ]
    if service.source.startswith("roofline"):
        text = f"{COMPUTE_EFFICIENCY:.0%} of FLOP/s and {BANDWIDTH_EFFICIENCY:.0%} of bandwidth"
        listed.append(Assumption(name="efficiency", value=text, source="assumed; measure and give a profile"))
    if traffic.quality.gap_windows:
        filled = f"{traffic.quality.gap_windows} ten-minute windows"
        listed.append(Assumption(name="gaps filled", value=filled, source="data quality"))
    return tuple(listed)


def _slo(
    workload: Workload, traffic: Traffic, service: ServiceModel, plan: Plan, limits: Constraints, demand_factor: float
) -> tuple[SloResult, tuple[Attainment, Attainment]]:
    """The plan's attainment, and that of all dedicated and all serverless."""
    limit_s = workload.slo.time_to_first_token_ms / 1000
    tokens = (traffic.mean_tokens_in, traffic.mean_tokens_out) if traffic.requests else TYPICAL_TOKENS
    requests = None
    if traffic.log is not None:
        requests = replay(traffic.log, service, hours=plan.demand.hours, demand_factor=demand_factor)
    if requests is None:
        requests = synthesise(
            plan.demand, service, tokens_in=tokens[0], tokens_out=tokens[1], utilization=workload.target_utilization
        )
    hours = np.arange(requests.first_hour, requests.first_hour + requests.hours)
    first = slot_of_hour(plan.demand, period=len(plan.warm.minimum))
    planned = attainment(
        requests,
        dedicated=plan.dedicated[hours],
        warm=plan.warm.minimum[(hours + first) % len(plan.warm.minimum)],
        slots=service.batch,
        serverless_cap=plan.serverless_most,  # what `--write` sets
        peak=plan.peak_replicas,
        tariff=plan.tariff,
        limit_s=limit_s,
        target=workload.slo.percentile / 100,
        spill_after_s=limit_s * WAIT_SHARE,
    )
    cap = limits.serverless_cap if limits.serverless_cap is not None else plan.peak_replicas + SPARE_WORKERS
    alone = [
        single_pool(
            requests, dedicated=gpus, serverless_cap=workers, slots=service.batch, tariff=plan.tariff, limit_s=limit_s
        )
        for gpus, workers in ((max(plan.peak_replicas, 1), 0), (0, cap))
    ]
    return planned, (alone[0], alone[1])


def commitments(workload: Workload, plan: Plan) -> tuple[CommitmentAdvice, ...]:
    """What to commit to of each reserved tier; hidden costs are on these GPUs as on any dedicated one."""
    if not workload.reserved:
        return ()
    gpus = workload.model.tensor_parallel
    tables = {
        factor: level_tables(plan.demand.scaled(factor), plan.tariff).serverless_usd(plan.tariff) for factor in DROPS
    }
    offers = [
        Commitment(
            name=tier.name,
            usd_hour=float(tier.usd_per_hour) * gpus * workload.dedicated.overhead_factor,
            months=tier.commitment_months,
            maximum=None if tier.maximum_gpus is None else tier.maximum_gpus // gpus,
        )
        for tier in workload.reserved
    ]
    return tuple(advise(offer, tables, plan.tariff) for offer in offers)


def slot_peaks(need: Ints, first_slot: int) -> Ints:
    """Whole replicas at the peak of each hour of the day, [24]."""
    hourly = need.reshape(-1, BINS_PER_HOUR).max(1)
    slots = (np.arange(len(hourly)) + first_slot) % SLOTS
    peaks = np.zeros(SLOTS, dtype=np.int64)
    np.maximum.at(peaks, slots, hourly)
    return peaks


def _coupled(workload: Workload, plan: Plan, limits: Constraints) -> Outcome | None:
    """The program, only where something couples the levels."""
    coupled = limits.dedicated_cap is not None or limits.serverless_cap is not None
    if not (coupled or workload.gpu_options or workload.reserved):
        return None
    first = slot_of_hour(plan.demand, period=SLOTS)
    table: Floats = slot_costs(
        level_tables(plan.demand, plan.tariff).serverless_usd(plan.tariff), period=SLOTS, first_slot=first
    )
    gpus = workload.model.tensor_parallel
    types = (
        GpuType(name=workload.gpu, usd_hour=plan.tariff.dedicated_usd_hour, stock=limits.dedicated_cap),
        *(
            GpuType(
                name=option.gpu,
                usd_hour=float(option.usd_per_hour) * gpus * workload.dedicated.overhead_factor,
                speed=option.relative_speed,
                stock=None if option.maximum_gpus is None else option.maximum_gpus // gpus,
            )
            for option in workload.gpu_options
        ),
    )
    reservations = tuple(
        Reservation(
            name=tier.name,
            usd_hour=float(tier.usd_per_hour) * gpus * workload.dedicated.overhead_factor,
            maximum=None if tier.maximum_gpus is None else tier.maximum_gpus // gpus,
        )
        for tier in workload.reserved
    )
    return solve(
        table,
        slot_peaks(plan.demand.need, first),
        types,
        reservations=reservations,
        limits=Limits(serverless_cap=limits.serverless_cap),
    )


def outcome_sentence(outcome: Outcome) -> str:
    """What the program found, never calling an unproven plan the best."""
    if isinstance(outcome, Infeasible):
        return f"No plan meets all limits: {outcome.clash}."
    if isinstance(outcome, Unanswered):
        return f"No plan under the limits was found within {outcome.seconds:g} s; that there is none is not proven."
    held = [f"{count} x {name} reserved" for name, count in outcome.mix.reserved.items() if count]
    held += [
        f"{rows.min()} to {rows.max()} x {name} by the hour" for name, rows in outcome.mix.rented.items() if rows.max()
    ]
    what = f"{', '.join(held) or 'nothing dedicated'}, {outcome.mix.cost_usd:,.2f} USD a day"
    if isinstance(outcome, Feasible):
        return f"Best plan found under the limits: {what}; at most {outcome.gap:.1%} above the best possible."
    return f"Best plan under the limits (proven): {what}."


def service_for(workload: Workload, folder: Path) -> ServiceModel:
    """The service model for a typical request, where there is no traffic."""
    return service_of(workload, tokens_in=TYPICAL_TOKENS[0], tokens_out=TYPICAL_TOKENS[1], folder=folder)
