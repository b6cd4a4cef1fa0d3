"""The essays' decision tree, each question answered with a computed number, and where the rule of thumb is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headrace.planner.answer import Answer
from headrace.planner.planning import HOURS_PER_MONTH
from headrace.planner.verdict import VerdictKind

# The essays' thresholds, kept only to say when they mislead.
RULE_UTILISATION: Final = 0.30
RULE_STARTUP_USD: Final = 10_000.0
RULE_LATENCY_MS: Final = 100.0
# A season that explains half of the variance is what the essays call "spiky but predictable".
PREDICTABLE: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Step:
    """One question of the tree: the rule's answer, ours, and the number behind it."""

    question: str
    measured: str
    rule_says: str
    we_say: str
    wrong: bool
    because: str


@dataclass(frozen=True, kw_only=True)
class Way:
    """One of dedicated, serverless, hybrid. USD per month of 730 hours; effort in hours of an engineer a month."""

    name: str
    usd_per_month: float
    attained: float
    wait_p95_s: float
    effort_hours: float
    notes: str


# Engineer hours a month for each way of running, stated as assumptions: on-call and upgrades of GPU nodes, of endpoint
# settings, of both plus a router. The essays only say "high" and "low".
EFFORT_HOURS: Final = {"dedicated": 40.0, "serverless": 8.0, "hybrid": 56.0}


def _kind_of(answer: Answer) -> str:
    kind = answer.plan.verdict.kind
    single = {VerdictKind.SERVERLESS_ONLY: "serverless", VerdictKind.DEDICATED_ONLY: "dedicated"}
    if kind in single:
        return single[kind]
    if kind is VerdictKind.NOT_WORTH:
        return answer.plan.verdict.better_single.split()[0]
    return "hybrid"


def tree(answer: Answer) -> list[Step]:
    """The questions in the essays' order."""
    plan, ours = answer.plan, _kind_of(answer)
    mean, peak = answer.profile.mean, max(answer.profile.peak, 1e-9)
    utilisation = mean / max(float(plan.peak_replicas), 1e-9)
    rule = "dedicated" if utilisation > RULE_UTILISATION else "hybrid"
    steady = answer.profile.raw_floor > 0
    dedicated_peak = plan.peak_replicas * plan.tariff.dedicated_usd_hour * HOURS_PER_MONTH
    return [
        Step(
            question="Is the objective under 100 ms, or residency strict?",
            measured=f"objective {answer.slo.limit_s * 1000:.0f} ms; attained {answer.slo.plan.attained:.2%}",
            rule_says="dedicated only" if answer.slo.limit_s * 1000 < RULE_LATENCY_MS else "go on",
            we_say="dedicated only" if not answer.slo.met and answer.slo.limit_s * 1000 < RULE_LATENCY_MS else "go on",
            wrong=answer.slo.limit_s * 1000 < RULE_LATENCY_MS and answer.slo.met,
            because="the simulation counts who waits for a cold start; residency is a matter for the policy pack",
        ),
        Step(
            question="Is traffic steady around the clock?",
            measured=(
                f"floor {answer.profile.raw_floor:.2f} (1st percentile {answer.profile.robust_floor:.2f}), mean"
                f" {mean:.2f}, peak {peak:.1f}; steady: a floor above a quarter of the mean"
            ),
            rule_says="yes" if steady else "no",
            we_say="yes" if answer.profile.robust_floor > 0.25 * mean else "no",
            wrong=steady != (answer.profile.robust_floor > 0.25 * mean),
            because="the least hour of weeks is an extreme value that one gap decides; the first percentile is not",
        ),
        Step(
            question="Is utilisation above 30 %?",
            measured=(
                f"a peak-sized fleet is used {utilisation:.0%}; break-even per level {plan.tariff.break_even:.0%}"
            ),
            rule_says=rule,
            we_say=ours,
            wrong=rule != ours,
            because=(
                f"break-even applies to each level, not to the fleet: all dedicated {dedicated_peak:,.0f}, all"
                f" serverless {plan.baselines['serverless-only']:,.0f}, planned {plan.usd_per_month:,.0f} USD a month"
            ),
        ),
        Step(
            question="Is traffic predictable (the same time daily)?",
            measured=f"the hour of the day explains {answer.profile.daily_season:.0%} of the variance",
            rule_says="hybrid with a dummy request ten minutes before" if _predictable(answer) else "serverless",
            we_say=f"{ours}, {plan.policy}",
            wrong=ours != "hybrid" if _predictable(answer) else ours != "serverless",
            because=(
                "a dummy request is outlived by the idle timeout and warms one worker; minimum instances by schedule"
                f" avoid a start for {_price(plan.warm.median_usd_per_avoided)} at the median"
            ),
        ),
        Step(
            question="Is the bill under 10,000 a month?",
            measured=f"all serverless would be {plan.baselines['serverless-only']:,.0f} USD a month",
            rule_says="serverless" if plan.baselines["serverless-only"] < RULE_STARTUP_USD else "go on",
            we_say=ours,
            wrong=plan.baselines["serverless-only"] < RULE_STARTUP_USD and ours != "serverless",
            because="a small bill can still have a level that is always busy; what the rule saves is people's time",
        ),
        Step(
            question="How large is the floor (floor + 10 %)?",
            measured=f"floor + 10 % costs {plan.baselines['floor-plus-ten']:,.0f} USD a month",
            rule_says=f"{answer.profile.raw_floor * 1.1:.1f} replicas",
            we_say=f"{int(plan.schedule.min())} to {plan.most} replicas",
            wrong=plan.baselines["floor-plus-ten"] > plan.usd_per_month * 1.005,
            because=f"the plan costs {plan.usd_per_month:,.0f}, the lower bound is {plan.bound_usd_per_month:,.0f}",
        ),
    ]


def _predictable(answer: Answer) -> bool:
    return answer.profile.daily_season >= PREDICTABLE


def _price(value: float | None) -> str:
    return "an unknown price" if value is None else f"{value:.2f} USD"


def ways(answer: Answer, effort: dict[str, float] = EFFORT_HOURS) -> list[Way]:
    """Dedicated, serverless and hybrid side by side."""
    plan = answer.plan
    dedicated = plan.peak_replicas * plan.tariff.dedicated_usd_hour * HOURS_PER_MONTH
    return [
        Way(
            name="dedicated",
            usd_per_month=dedicated,
            attained=answer.all_dedicated.attained,
            wait_p95_s=answer.all_dedicated.wait_p95_s,
            effort_hours=effort["dedicated"],
            notes=f"{plan.peak_replicas * answer.gpus_per_replica} GPUs, the peak; {_idle(answer):.0%} idle",
        ),
        Way(
            name="serverless",
            usd_per_month=plan.baselines["serverless-only"],
            attained=answer.all_serverless.attained,
            wait_p95_s=answer.all_serverless.wait_p95_s,
            effort_hours=effort["serverless"],
            notes=(
                f"up to {plan.peak_replicas} workers, {answer.all_serverless.cold_starts_per_day:,.1f} cold starts a"
                f" day of {plan.tariff.cold_start_s:g} s"
            ),
        ),
        Way(
            name="hybrid",
            usd_per_month=plan.usd_per_month,
            attained=answer.slo.plan.attained,
            wait_p95_s=answer.slo.plan.wait_p95_s,
            effort_hours=effort["hybrid"],
            notes=f"{plan.policy}; {answer.slo.plan.cold_starts_per_day:,.1f} cold starts a day",
        ),
    ]


def _idle(answer: Answer) -> float:
    return 1.0 - answer.profile.mean / max(answer.plan.peak_replicas, 1e-9)
