"""An answer as plain JSON: the one shape behind `--json`, the report and the tests."""

from __future__ import annotations

import math

from headrace.planner.answer import Answer, outcome_sentence
from headrace.planner.arrays import HOUR_S
from headrace.planner.commitment import CommitmentAdvice
from headrace.planner.coupled import Feasible, Infeasible, Outcome, Unanswered
from headrace.planner.planning import Candidate, Plan, Sensitivity
from headrace.planner.slo import Attainment, SloResult
from headrace.planner.stack_config import Sizing
from headrace.planner.statistics import Profile


def document(answer: Answer) -> dict[str, object]:
    """Everything, numbers rounded to what they are worth; counts in replicas unless a key says GPUs."""
    plan = answer.plan
    return {
        "workload": answer.workload.name,
        "gpu": answer.service.gpu,
        "gpusPerReplica": answer.gpus_per_replica,
        "pricesOf": str(answer.day),
        "verdict": {
            "kind": plan.verdict.kind.value,
            "sentence": plan.verdict.sentence,
            "savesUsdPerMonth": _money(plan.verdict.saves_usd_per_month),
            "betterSingle": plan.verdict.better_single,
        },
        "plan": _plan(plan, answer.gpus_per_replica),
        "candidates": [_candidate(item) for item in plan.candidates],
        "baselinesUsdPerMonth": {name: _money(value) for name, value in plan.baselines.items()},
        "lowerBoundUsdPerMonth": _money(plan.bound_usd_per_month),
        "regretUsdPerMonth": _money(plan.regret_usd_per_month),
        "regretShare": round(plan.regret_usd_per_month / plan.bound_usd_per_month, 4)
        if plan.bound_usd_per_month
        else None,
        "breakEven": round(plan.tariff.break_even, 4),
        "levelShares": [round(float(share), 4) for share in plan.level_shares],
        "sensitivity": [_sensitivity(item) for item in plan.sensitivity],
        "slo": slo_document(answer.slo),
        "warmUp": {
            "startsPerDay": round(plan.warm.starts_per_day, 2),
            "avoidedPerDay": round(plan.warm.avoided_per_day, 2),
            "usdPerDay": _money(plan.warm.usd_per_day),
            "medianUsdPerAvoidedStart": _maybe(plan.warm.median_usd_per_avoided),
            "ladder": [
                {"avoidedShare": share, "usdPerDay": _money(usd), "usdPerAvoidedStart": round(price, 4)}
                for share, usd, price in plan.warm.ladder
            ],
        },
        "batchFreeShare": _maybe(plan.batch_free_share),
        "demand": profile_document(answer.profile),
        "pooling": {
            name: {
                "groups": item.groups,
                "pooledUsd": _money(item.pooled_usd),
                "separateUsd": _money(item.separate_usd),
                "saved": round(item.saved, 4),
            }
            for name, item in answer.pooling.items()
        },
        "commitments": [_commitment(item) for item in answer.commitments],
        "coupled": _coupled(answer.coupled),
        "service": {
            "prefillTokensPerSecond": round(answer.service.prefill_tokens_s, 1),
            "decodeTokensPerSecond": round(answer.service.decode_tokens_s, 1),
            "batch": answer.service.batch,
            "source": answer.service.source,
        },
        "quality": answer.traffic.quality.document(),
        "assumptions": [
            {"name": item.name, "value": item.value, "source": item.source, "asOf": item.as_of}
            for item in plan.assumptions
        ],
        "stalePrices": list(answer.stale),
    }


def sizing(answer: Answer) -> Sizing:
    """The plan in GPUs and instances, as settings want it."""
    plan = answer.plan
    held = plan.dedicated.mean() if plan.hourly else plan.schedule.max(initial=0)
    slots = max(int(held), 1) * answer.service.batch
    overhead = answer.workload.dedicated.overhead_factor
    return Sizing(
        gpu=answer.workload.gpu,
        gpus_per_replica=answer.gpus_per_replica,
        batch=answer.service.batch,
        day=answer.day,
        dedicated_usd_hour=plan.tariff.dedicated_usd_hour / answer.gpus_per_replica / overhead,
        serverless_usd_hour=plan.tariff.serverless_usd_second * HOUR_S / answer.gpus_per_replica,
        schedule_gpus=plan.schedule * answer.gpus_per_replica,
        ceiling_gpus=plan.ceiling * answer.gpus_per_replica,
        hourly=plan.hourly,
        warm_instances=plan.warm.minimum,
        max_instances=plan.serverless_most,
        idle_timeout_s=round(plan.tariff.idle_timeout_s),
        lead_time_s=answer.workload.dedicated.lead_time_s,
        max_wait_ms=round(answer.slo.limit_s * 250),
        # Square-root staffing (Halfin and Whitt 1981): c slots keep about the root of c free to absorb arrivals.
        start_at_percent=max(50, min(95, math.floor(100 * (1 - 1 / math.sqrt(slots))))),
    )


def _money(value: float) -> float:
    return round(value, 2)


def _maybe(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _plan(plan: Plan, gpus: int) -> dict[str, object]:
    return {
        "policy": plan.policy,
        "usdPerMonth": _money(plan.usd_per_month),
        "schedule": [int(count) for count in plan.schedule],
        "scheduleGpus": [int(count) * gpus for count in plan.schedule],
        "ceiling": plan.ceiling,
        "peak": plan.peak_replicas,
        "serverlessPeak": plan.serverless_peak,
        "serverlessMost": plan.serverless_most,
        "minInstances": [int(count) for count in plan.warm.minimum],
        "hourly": plan.hourly,
        "hourlySavesUsdPerMonth": _money(plan.hourly_saves_usd_per_month),
        "nextHour": plan.next_hour,
        "shortage": plan.shortage,
        "evaluatedHours": plan.evaluated_hours,
    }


def _candidate(item: Candidate) -> dict[str, object]:
    return {
        "name": item.name,
        "usdPerMonth": _money(item.usd_per_month),
        "ratio": _maybe(item.ratio),
        "deployable": item.deployable,
        "changesPerDay": round(item.changes_per_day, 2),
    }


def _sensitivity(item: Sensitivity) -> dict[str, object]:
    return {
        "demand": item.demand,
        "dedicatedPrice": item.dedicated_price,
        "serverlessPrice": item.serverless_price,
        "planUsdPerMonth": _money(item.plan_usd),
        "replannedUsdPerMonth": _money(item.replanned_usd),
        "serverlessUsdPerMonth": _money(item.serverless_usd),
        "lowerBoundUsdPerMonth": _money(item.bound_usd),
        "verdict": item.verdict,
    }


def attainment_document(item: Attainment) -> dict[str, object]:
    """One variant of the simulation."""
    return {
        "extraFloor": item.extra_floor,
        "extraWarm": item.extra_warm,
        "attained": round(item.attained, 6),
        "waitP50S": round(item.wait_p50_s, 3),
        "waitP95S": round(item.wait_p95_s, 3),
        "waitP99S": round(item.wait_p99_s, 3),
        "coldStartsPerDay": round(item.cold_starts_per_day, 2),
        "overflowShare": round(item.overflow_share, 4),
        "usdPerMonth": _money(item.usd_per_month),
        "usdPerFurtherPoint": None if item.usd_per_further_point is None else _money(item.usd_per_further_point),
    }


def slo_document(slo: SloResult) -> dict[str, object]:
    """The simulation's answer."""
    return {
        "timeToFirstTokenS": slo.limit_s,
        "target": slo.target,
        "met": slo.met,
        "requests": slo.requests,
        "synthesised": slo.synthesised,
        "plan": attainment_document(slo.plan),
        "ladder": [attainment_document(item) for item in slo.ladder],
        "cheapestThatMeets": None if slo.cheapest_that_meets is None else attainment_document(slo.cheapest_that_meets),
    }


def profile_document(profile: Profile) -> dict[str, object]:
    """The description of the demand."""
    return {
        "mean": round(profile.mean, 3),
        "rawFloor": round(profile.raw_floor, 3),
        "robustFloor": round(profile.robust_floor, 3),
        "peak": round(profile.peak, 3),
        "percentiles": {str(share): round(value, 3) for share, value in profile.percentiles.items()},
        "dailySeason": round(profile.daily_season, 3),
        "weeklySeason": _maybe(profile.weekly_season),
        "trendPerWeek": round(profile.trend_per_week, 3) + 0.0,
        "breaksAtHour": list(profile.breaks_h),
    }


def _commitment(item: CommitmentAdvice) -> dict[str, object]:
    return {
        "name": item.offer.name,
        "months": item.offer.months,
        "replicas": item.replicas,
        "savedUsdByDemand": {str(factor): _money(usd) for factor, usd in item.saved_usd.items()},
        "breakEvenMonth": _maybe(item.break_even_month),
    }


def _coupled(outcome: Outcome | None) -> dict[str, object] | None:
    if outcome is None:
        return None
    if isinstance(outcome, Infeasible):
        return {"status": "infeasible", "sentence": outcome_sentence(outcome)}
    if isinstance(outcome, Unanswered):
        return {"status": "unanswered", "sentence": outcome_sentence(outcome)}
    return {
        "status": "feasible" if isinstance(outcome, Feasible) else "proven",
        "sentence": outcome_sentence(outcome),
        "reserved": outcome.mix.reserved,
        "rented": {name: [int(count) for count in rows] for name, rows in outcome.mix.rented.items()},
        "usdPerDay": _money(outcome.mix.cost_usd),
        "gap": round(outcome.gap, 6) if isinstance(outcome, Feasible) else 0.0,
    }
