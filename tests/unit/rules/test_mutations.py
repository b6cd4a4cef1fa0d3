"""The five stacks are clean; one broken thing in them is found by exactly the rules that are meant to."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from headrace.rules import waiver
from headrace.rules.registry import RULES
from headrace.settings.load import read_yaml_file
from tests.unit.rules.good_stacks import STACKS, TODAY, Case, good
from tests.unit.rules.mutations import Mutation, harmless, mutations

WAIVERS = Path(__file__).resolve().parents[3] / "policies" / "waivers.yaml"
MUTATIONS = mutations()


def _open(case: Case, environment: str, today: date = TODAY) -> set[str]:
    """Rules with open findings, once the reviewed waivers are applied."""
    waivers = waiver.read(read_yaml_file(WAIVERS), "waivers.yaml", [rule.id for rule in RULES])
    outcome = waiver.apply(case.findings(), waivers, environment=environment, today=today)
    assert not outcome.complaints, "a waiver of the repository has expired or is too broad"
    return {finding.rule for finding in outcome.open}


@pytest.mark.parametrize("stack", STACKS)
def test_a_good_stack_gives_no_finding(stack: str) -> None:
    assert _open(good(stack), stack) == set()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_broken_thing_is_found_by_exactly_the_intended_rules(mutation: Mutation) -> None:
    assert _open(mutation.change(good(mutation.stack)), mutation.stack) == mutation.expected


@pytest.mark.parametrize("mutation", harmless(), ids=lambda mutation: mutation.name)
def test_a_change_that_breaks_nothing_is_left_alone(mutation: Mutation) -> None:
    assert _open(mutation.change(good(mutation.stack)), mutation.stack) == set()


def test_there_are_enough_mutations_and_each_rule_has_one() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 150, "names are distinct, 150 at least"
    caught = {rule for mutation in MUTATIONS for rule in mutation.expected}
    assert caught == {rule.id for rule in RULES}, "every rule is proven by a mutation that only it or few catch"
