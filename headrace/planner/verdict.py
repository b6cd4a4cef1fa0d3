"""The honest answer in one word and one sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# A hybrid that saves less than this against the better single pool is not worth a second platform.
WORTH: Final = 0.04


class VerdictKind(StrEnum):
    """What to do."""

    HYBRID = "hybrid"
    SERVERLESS_ONLY = "serverless only"
    DEDICATED_ONLY = "dedicated only"
    NOT_WORTH = "a hybrid saves less than it costs to run"
    NO_DEMAND = "no demand"
    INFEASIBLE = "no plan keeps the caps"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to do, what it saves against the better single pool (US dollars a month, after operations), and why."""

    kind: VerdictKind
    saves_usd_per_month: float
    better_single: str
    sentence: str


def decide(
    *,
    hybrid_usd: float,
    serverless_usd: float,
    dedicated_usd: float,
    dedicated_gpus: float,
    overflow: bool,
    operations_usd: float,
    break_even: float,
    shortage: str | None = None,
) -> Verdict:
    """Compare the planned mix with both single pools. All costs in US dollars a month.

    operations_usd: what running two pools and a router costs a month beyond running one. A single pool whose cap
    lies under the peak costs infinitely much; `shortage` says why both caps together do.
    """
    if serverless_usd <= 0:
        return Verdict(
            kind=VerdictKind.NO_DEMAND, saves_usd_per_month=0.0, better_single="", sentence="There was no demand."
        )
    if shortage is not None:
        return Verdict(
            kind=VerdictKind.INFEASIBLE,
            saves_usd_per_month=0.0,
            better_single="",
            sentence=f"No plan keeps the caps: {shortage}; requests of that peak wait.",
        )
    single = "serverless only" if serverless_usd <= dedicated_usd else "dedicated only"
    best = min(serverless_usd, dedicated_usd)
    gross = best - hybrid_usd
    net = gross - operations_usd
    if dedicated_gpus < 0.005:
        reason = (
            f"a dedicated GPU costs {break_even:.0%} of a fully used serverless one, so no level is ever cheaper"
            if break_even >= 1
            else f"no level is busy for more than the break-even share of {break_even:.0%} often enough"
        )
        return Verdict(
            kind=VerdictKind.SERVERLESS_ONLY,
            saves_usd_per_month=0.0,
            better_single="serverless only",
            sentence=f"Serverless only: {reason}.",
        )
    if not overflow:
        return Verdict(
            kind=VerdictKind.DEDICATED_ONLY,
            saves_usd_per_month=serverless_usd - hybrid_usd if math.isfinite(serverless_usd) else 0.0,
            better_single="dedicated only",
            sentence="Dedicated only: the planned floor serves even the peak, so there is nothing left to overflow.",
        )
    if math.isinf(best):
        return Verdict(
            kind=VerdictKind.HYBRID,
            saves_usd_per_month=0.0,
            better_single="",
            sentence="Hybrid: neither pool alone may hold enough GPUs for the peak.",
        )
    if net <= 0 or gross < WORTH * best:
        kept = VerdictKind.SERVERLESS_ONLY if single == "serverless only" else VerdictKind.DEDICATED_ONLY
        return Verdict(
            kind=VerdictKind.NOT_WORTH,
            saves_usd_per_month=net,
            better_single=kept.value,
            sentence=(
                f"A hybrid saves less than it costs to run: {gross:,.0f} USD a month ({gross / best:.1%}) before"
                f" {operations_usd:,.0f} USD of operations; stay with {kept.value}."
            ),
        )
    return Verdict(
        kind=VerdictKind.HYBRID,
        saves_usd_per_month=net,
        better_single=single,
        sentence=(
            f"Hybrid: saves {net:,.0f} USD a month ({net / best:.0%}) against {single}, after {operations_usd:,.0f} USD"
            f" of operations."
        ),
    )
