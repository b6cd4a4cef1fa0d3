"""Walking a demand hour by hour: decisions from the past alone, priced exactly, beside bound and baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headrace.errors import refuse
from headrace.planner.arrays import DAY_HOURS, HOUR_S, Floats, Ints
from headrace.planner.bounds import Bounds, bounds
from headrace.planner.levels import Demand, cost_per_hour, level_tables
from headrace.planner.mixing import adaptive
from headrace.planner.policies import BASELINES, HourlyCosts, Policy, hourly_costs
from headrace.planner.tariff import Tariff

DEFAULT_TRAIN_DAYS = 7
ADAPTIVE = "adaptive"


@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """What a policy decided in the evaluated hours and what it cost. `ratio` is cost over the hourly lower bound."""

    name: str
    dedicated: Ints
    cost_usd: float
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """The evaluated hours: `hour_start_s` [hours], the chosen policy, baselines, bounds; prices in US dollars."""

    tariff: Tariff
    hour_start_s: Ints
    chosen: PolicyResult
    baselines: tuple[PolicyResult, ...]
    bound: Bounds
    train_hours: int

    @property
    def regret_usd(self) -> float:
        """What perfect foresight would have saved."""
        return self.chosen.cost_usd - self.bound.hourly_usd


def split_hours(demand: Demand, train_days: float) -> int:
    """Number of training hours, refused where nothing is left to walk."""
    train = round(train_days * DAY_HOURS) if math.isfinite(train_days) else -1
    if train < 0 or train >= demand.hours:
        raise refuse(
            "--train-days",
            train_days,
            f"leaves no hour to decide: the demand covers {demand.hours / DAY_HOURS:.2f} days",
            reason="training days are history only",
            next_step="give a longer demand file or fewer training days",
        )
    return train


def run_backtest(
    demand: Demand, tariff: Tariff, *, train_days: float = DEFAULT_TRAIN_DAYS, policy: Policy = adaptive
) -> Backtest:
    """Decide each hour after the training from the hours before it, and price the decisions."""
    train = split_hours(demand, train_days)
    tables = level_tables(demand, tariff)
    costs = hourly_costs(demand, tariff, history_hours=train, tables=tables)
    serverless = tables.serverless_usd(tariff)[train:]
    tested = Demand(origin_s=demand.origin_s + train * HOUR_S, gpus=demand.gpus[train * 360 :])
    limit = bounds(tested, serverless, tariff)
    chosen = _result(ADAPTIVE, policy(costs)[train:-1], serverless, tariff, limit)
    baselines = [_result(name, rule(costs)[train:-1], serverless, tariff, limit) for name, rule in BASELINES.items()]
    constant = np.full(len(serverless), limit.static_gpus, dtype=np.int64)
    baselines.append(_result("best-constant-in-hindsight", constant, serverless, tariff, limit))
    return Backtest(
        tariff=tariff,
        hour_start_s=demand.origin_s + np.arange(train, demand.hours, dtype=np.int64) * HOUR_S,
        chosen=chosen,
        baselines=tuple(baselines),
        bound=limit,
        train_hours=train,
    )


def _result(name: str, dedicated: Ints, serverless: Floats, tariff: Tariff, limit: Bounds) -> PolicyResult:
    cost = float(cost_per_hour(serverless, dedicated, tariff).sum())
    return PolicyResult(
        name=name,
        dedicated=dedicated,
        cost_usd=cost,
        ratio=cost / limit.hourly_usd if limit.hourly_usd > 0 else None,
    )


def next_hour(demand: Demand, tariff: Tariff, *, policy: Policy = adaptive) -> int:
    """The decision for the hour after the data."""
    costs: HourlyCosts = hourly_costs(demand, tariff, history_hours=demand.hours)
    return int(policy(costs)[-1])
