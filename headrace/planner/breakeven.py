"""The essay's formula, done with what its billing really adds.

break-even share      p_d / (3600 p_s)                     of billed time, per level and not per fleet
idle tax              p_d / utilisation                    what a useful dedicated hour costs
effective rate        p_s * (busy + idle + cold) / busy    what a useful serverless second costs
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.planner.tariff import Tariff


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """Shares of an hour (0 to 1 and beyond), US dollars per useful hour.

    billed_share: the formula. busy_share: the same as useful time, when each burst of `burst_s` also pays its idle tail
    and cold start, None where a level is then never cheaper dedicated. with_hidden: the formula with hidden costs.
    """

    billed_share: float
    with_hidden: float
    busy_share: float | None
    serverless_usd_useful_hour: float
    idle_tax: dict[float, float]

    @property
    def never(self) -> bool:
        """Whether dedicating never pays, by the formula."""
        return self.billed_share >= 1.0


def break_even(tariff: Tariff, *, burst_s: float, overhead: float, utilisations: tuple[float, ...]) -> BreakEven:
    """All figures for a pair of prices. `burst_s`: seconds of work between two idle periods."""
    billed = max(burst_s + tariff.idle_timeout_s + tariff.cold_start_s, tariff.minimum_billed_s)
    waste = billed / burst_s
    # A level busy for a share b in bursts is billed for min(1, b * waste): dedicate once that exceeds the formula.
    busy = tariff.break_even / waste
    return BreakEven(
        billed_share=tariff.break_even,
        with_hidden=tariff.break_even * overhead,
        busy_share=busy if tariff.break_even < 1 else None,
        serverless_usd_useful_hour=tariff.serverless_usd_second * 3600 * waste,
        idle_tax={share: tariff.dedicated_usd_hour / share for share in utilisations},
    )
