"""The spill benchmark on a short day: deterministic, loses no request, and its order of strategies."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from benchmarks.spill.strategies import Result, clairvoyant, fallback, headrace
from benchmarks.spill.worlds import World, worlds

SLO_S = 0.8


@dataclass(frozen=True)
class Played:
    world: World
    ours: Result
    late: Result
    theirs: Result
    best: Result


@pytest.fixture(scope="module")
def played() -> Played:
    world = next(one for one in worlds(day_s=240.0, trace_s=0.001) if one.name == "generated day")
    return Played(
        world=world,
        ours=headrace(world),
        late=headrace(world, start_ahead=False),
        theirs=fallback(world),
        best=clairvoyant(world),
    )


def test_every_request_is_answered_or_refused_by_every_strategy(played: Played) -> None:
    for one in (played.ours, played.late, played.theirs, played.best):
        assert len(one.first_s) + one.refused == one.asked == len(played.world.asks), one.name


def test_the_same_world_gives_the_same_result(played: Played) -> None:
    assert headrace(played.world) == played.ours, "virtual time has no jitter"


def test_spilling_on_saturation_keeps_more_of_the_objective_than_falling_back_on_errors(played: Played) -> None:
    ours, best = played.ours, played.best
    assert played.theirs.attained(SLO_S) < ours.attained(SLO_S) <= best.attained(SLO_S)
    assert best.usd <= ours.usd, "nothing costs less than perfect foresight"


def test_starting_ahead_is_what_keeps_it(played: Played) -> None:
    assert played.late.attained(SLO_S) < played.ours.attained(SLO_S)
