"""What a GPU costs: the few numbers that the exact cost model needs, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from headrace.errors import Problem, Refused

# Billing rules of more than a week are mistakes.
LONGEST_S: Final = 7 * 86400.0


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """Prices of one GPU on both sides of the hybrid.

    dedicated_usd_hour: a whole hour of one dedicated GPU, used or not, all overheads included.
    serverless_usd_second: a billed second of one serverless GPU.
    idle_timeout_s: how long an idle serverless worker is kept, and billed, before it stops.
    cold_start_s: billed seconds at each start of a worker.
    minimum_billed_s: least billed time of one busy period of a worker (0: no minimum).
    """

    dedicated_usd_hour: float
    serverless_usd_second: float
    idle_timeout_s: float = 60.0
    cold_start_s: float = 30.0
    minimum_billed_s: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            *_positive("--dedicated-usd-hour", self.dedicated_usd_hour, "US dollars for one GPU for one hour"),
            *_positive("--serverless-usd-second", self.serverless_usd_second, "US dollars for one GPU for one second"),
            *_not_negative("--idle-timeout-s", self.idle_timeout_s),
            *_not_negative("--cold-start-s", self.cold_start_s),
            *_not_negative("--minimum-billed-s", self.minimum_billed_s),
        ]
        if not problems and self.serverless_usd_second * 3600 > 1000 * self.dedicated_usd_hour:
            problems.append(
                Problem(
                    path="--serverless-usd-second",
                    value=self.serverless_usd_second,
                    rule="is more than a thousand times the dedicated price once turned into an hour",
                    reason="a price per hour was probably given where a price per second is asked",
                    next_step="give US dollars per second, for example 0.00076",
                )
            )
        if problems:
            raise Refused(*problems)

    @property
    def break_even(self) -> float:
        """Share of an hour above which one level is cheaper dedicated: p_d / (3600 p_s). At 1 or more: never."""
        return self.dedicated_usd_hour / (3600.0 * self.serverless_usd_second)

    def scaled(self, *, dedicated: float = 1.0, serverless: float = 1.0) -> Tariff:
        """The same billing rules at other prices (sensitivity)."""
        return replace(
            self,
            dedicated_usd_hour=self.dedicated_usd_hour * dedicated,
            serverless_usd_second=self.serverless_usd_second * serverless,
        )


def _positive(path: str, value: float, unit: str) -> list[Problem]:
    if math.isfinite(value) and value > 0:
        return []
    return [
        Problem(
            path=path,
            value=value,
            rule="must be a positive price",
            reason="a price of zero makes every comparison meaningless",
            next_step=f"give {unit}, or omit the option to use the catalogue",
        )
    ]


def _not_negative(path: str, value: float) -> list[Problem]:
    if math.isfinite(value) and 0 <= value <= LONGEST_S:
        return []
    if value > LONGEST_S:
        rule, reason = "is more than a week", "it was probably given in milliseconds"
        return [Problem(path=path, value=value, rule=rule, reason=reason, next_step="give seconds")]
    return [
        Problem(path=path, value=value, rule="must be zero or more seconds", reason="", next_step="give a duration")
    ]
