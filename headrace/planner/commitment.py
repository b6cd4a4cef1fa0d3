"""Reserved tiers: how many GPUs to commit to, when the commitment has paid for itself, and what a drop would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from headrace.planner.arrays import Floats
from headrace.planner.tariff import Tariff

HOURS_PER_MONTH: Final = 730.0
DROPS: Final = (0.7, 1.0, 1.3)


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """An offer: US dollars per replica-hour, for `months`, paid whether used or not."""

    name: str
    usd_hour: float
    months: int
    maximum: int | None = None


@dataclass(frozen=True, kw_only=True)
class CommitmentAdvice:
    """Replicas to commit. `saved_usd` over the whole term by demand factor; negative is a loss.

    break_even_month: first month after which all payments of the term are outweighed by what was not paid elsewhere,
    None if the term ends before.
    """

    offer: Commitment
    replicas: int
    saved_usd: dict[float, float]
    break_even_month: float | None
    marginal_shares: tuple[float, ...]


def advise(offer: Commitment, serverless_by_factor: dict[float, Floats], tariff: Tariff) -> CommitmentAdvice:
    """The number of replicas that costs least over the term at today's demand, tested at -30 % and +30 %.

    serverless_by_factor: serverless cost tables [hours, levels] of the demand times each factor. Per level and hour the
    alternative to the commitment is the cheaper of on-demand and serverless (a third tier is one more minimum, B.1).
    """
    spot = serverless_by_factor[1.0]
    hours = len(spot)
    alternative = np.minimum(spot, tariff.dedicated_usd_hour).sum(0)
    worth = alternative - offer.usd_hour * hours
    total = np.concatenate(([0.0], worth.cumsum()))
    if offer.maximum is not None:
        total = total[: offer.maximum + 1]
    replicas = int(np.argmax(total))
    term_hours = offer.months * HOURS_PER_MONTH
    saved = {}
    for factor, table in serverless_by_factor.items():
        instead = np.minimum(table, tariff.dedicated_usd_hour).sum(0)[:replicas].sum()
        paid = replicas * offer.usd_hour * len(table)
        saved[factor] = float((instead - paid) / len(table) * term_hours)
    instead_month = float(alternative[:replicas].sum()) / hours * HOURS_PER_MONTH
    committed = replicas * offer.usd_hour * term_hours
    month = committed / instead_month if instead_month > 0 else None
    return CommitmentAdvice(
        offer=offer,
        replicas=replicas,
        saved_usd=saved,
        break_even_month=month if month is not None and month <= offer.months else None,
        marginal_shares=tuple((alternative / (tariff.dedicated_usd_hour * hours)).tolist()),
    )
