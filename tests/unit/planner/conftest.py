"""Small demands and tariffs for the planner's tests."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.planner.arrays import BINS_PER_HOUR, Floats
from headrace.planner.levels import Demand
from headrace.planner.planning import Constraints, Plan, make_plan
from headrace.planner.sample import WORKLOAD
from headrace.planner.tariff import Tariff

# The sample's workload on the GPU that the stacks' chat pools have, at the sample's prices.
ON_L4 = (
    WORKLOAD.replace("gpu: A100-80GB", "gpu: L4")
    .replace("{provider: runpod, tier: secure,", "{usdPerHour: 1.79,")
    .replace("{provider: runpod, tier: flex,", "{usdPerSecond: 0.00076, idleTimeoutS: 5,")
)


def daily_demand(*, days: int, level: float = 6.0, seed: int = 1) -> Demand:
    """A daily wave with slow and fast noise."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * 24 * 6) / 6
    slow = np.exp(np.cumsum(rng.normal(0, 0.02, len(hours))).clip(-1, 1))
    wave: Floats = level * (1 + 0.6 * np.sin((hours % 24 - 9) / 24 * 2 * np.pi)) * slow
    gpus = np.repeat(wave, BINS_PER_HOUR // 6) + rng.normal(0, 0.3, days * 24 * BINS_PER_HOUR)
    return Demand(origin_s=0, gpus=np.maximum(gpus, 0.0))


@pytest.fixture(scope="session")
def wave() -> Demand:
    """Nine days of a daily wave around six GPUs; shared, so it can't be written to."""
    demand = daily_demand(days=9)
    demand.gpus.setflags(write=False)
    return demand


@pytest.fixture(scope="session")
def free_plan(wave: Demand) -> Plan:
    """The plan for the wave at the essay's A100 prices without any limit."""
    return make_plan(wave, Tariff(dedicated_usd_hour=2.17, serverless_usd_second=0.00104), Constraints())


@pytest.fixture
def a100() -> Tariff:
    """The essay's A100 prices (break-even 58 %)."""
    return Tariff(dedicated_usd_hour=2.17, serverless_usd_second=0.00104)
