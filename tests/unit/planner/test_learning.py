"""What is learned of each level: the same rule as a direct fit, from the past alone."""

from __future__ import annotations

import numpy as np

from headrace.planner.arrays import DAY_HOURS, Floats
from headrace.planner.learning import APPRENTICE_H, DAYS, LEAST_LOAD, MEMORY, PENALTY, REACH, RECENT, learned
from headrace.planner.levels import Demand
from headrace.planner.policies import HourlyCosts, hourly_costs
from headrace.planner.tariff import Tariff

from .conftest import daily_demand


def costs_of(demand: Demand, tariff: Tariff) -> HourlyCosts:
    return hourly_costs(demand, tariff, history_hours=2 * DAY_HOURS)


def by_hand(costs: HourlyCosts, hour: int) -> tuple[Floats, Floats]:
    """Features of each level before an hour and its saving in it, from definitions and without running sums."""
    price = costs.tariff.dedicated_usd_hour
    saved = (costs.cost[:, :-1] - costs.cost[:, 1:]) / price
    fine = (costs.signal_cost[:, :-1] - costs.signal_cost[:, 1:]) / (price / 6)

    def usual(at: int) -> Floats:
        past = [saved[at - DAY_HOURS * back] for back in range(1, DAYS + 1) if at >= DAY_HOURS * back]
        return np.asarray(np.mean(past, axis=0)) if past else np.zeros(saved.shape[1])

    columns = [fine[max(0, hour * 6 - windows) : hour * 6].mean(0) for windows in RECENT]
    columns += [usual(hour), saved[hour - DAY_HOURS], usual(hour - 1), np.ones(saved.shape[1])]
    return np.stack(columns, axis=1), saved[hour] if hour < costs.hours else np.zeros(saved.shape[1])


def test_the_rule_is_that_of_a_direct_weighted_fit(a100: Tariff) -> None:
    costs = costs_of(daily_demand(days=5), a100)
    last = costs.hours
    rows, targets, weights = [], [], []
    for hour in range(DAY_HOURS, last):
        known, saved = by_hand(costs, hour)
        load = max(float(costs.hourly_mean[hour - 1]), LEAST_LOAD)
        near = np.exp(-0.5 * (np.log((costs.candidates[1:] - 0.5) / load) / REACH) ** 2)
        rows.append(known)
        targets.append(saved)
        weights.append(near * MEMORY ** (last - 1 - hour))
    x, y, w = np.concatenate(rows), np.concatenate(targets), np.concatenate(weights)
    rule = np.linalg.solve((x * w[:, None]).T @ x + np.eye(x.shape[1]) * PENALTY, (x * w[:, None]).T @ y)
    expected = by_hand(costs, last)[0] @ rule
    assert np.abs(expected).min() > 1e-6, "guard: no level is a tie"
    found = learned(costs, until=np.zeros(last + 1))
    assert found[last] == (expected > 0).sum()
    assert 0 < found[last] < len(expected), "guard: the rule tells levels apart"


def test_a_later_hour_changes_no_earlier_answer(a100: Tariff) -> None:
    demand = daily_demand(days=5)
    whole = learned(costs_of(demand, a100), until=np.zeros(demand.hours + 1))
    for hours in (75, 90, 110):
        # The same candidates, so that only the future differs.
        changed = demand.gpus.copy()
        changed[hours * 360 :] = np.minimum(demand.gpus[hours * 360 :][::-1] * 0.5, demand.gpus.max())
        changed[-360:] = demand.gpus.max()
        other = learned(costs_of(Demand(origin_s=0, gpus=changed), a100), until=np.zeros(demand.hours + 1))
        assert np.array_equal(whole[: hours + 1], other[: hours + 1])


def test_the_first_days_follow_the_answers_given() -> None:
    demand = daily_demand(days=4)
    costs = costs_of(demand, Tariff(dedicated_usd_hour=2.17, serverless_usd_second=0.00104))
    given = np.full(demand.hours + 1, 3.5)
    answers = learned(costs, until=given)
    assert np.all(answers[: DAY_HOURS + APPRENTICE_H] == 3.5)
    assert np.all(answers[DAY_HOURS + APPRENTICE_H :] % 1 == 0), "then whole levels are counted"
    assert np.all(given == 3.5), "the answers given are not written to"


def test_no_demand_has_no_level_to_learn(a100: Tariff) -> None:
    demand = Demand(origin_s=0, gpus=np.zeros(100 * 360))
    assert np.array_equal(learned(costs_of(demand, a100), until=np.zeros(101)), np.zeros(101))
