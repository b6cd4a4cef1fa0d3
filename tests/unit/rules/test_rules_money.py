"""Approvals of purchases, and prices that the catalogue doesn't have."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.rules import engine, tables
from headrace.rules.finding import Finding, Status
from headrace.rules.graph import Graph, Unknown
from headrace.rules.registry import RULES
from headrace.rules.rule import View
from headrace.settings.load import load as load_settings
from tests.unit.rules.good_stacks import TODAY, good, resource

BY_ID = {rule.id: rule for rule in RULES}
APPROVAL = {"ticket": "T", "approver": "a", "amountUsd": 50000, "termMonths": 12, "expiresOn": "2027-01-01"}


def _findings(rule: str, settings: dict[str, Any], *resources: Any) -> tuple[Finding, ...]:
    view = View(graph=Graph(resources), today=TODAY, settings=load_settings(settings))
    return engine.run(BY_ID[rule], view)


@pytest.mark.parametrize(
    ("approval", "commitment", "sentence"),
    [
        ({}, "5", None),
        ({"expiresOn": "2026-01-01"}, "5", "expired on 2026-01-01"),
        ({"amountUsd": 10}, "5", "it buys 43,800 USD, 10 are approved"),
        ({}, Unknown("commitment"), "how much it buys is not known"),
        ({}, "much", "how much it buys is not known"),
    ],
)
def test_a_purchase_needs_an_approval_that_covers_it(approval: Any, commitment: Any, sentence: str | None) -> None:
    settings = good("sandbox").settings
    settings["commitments"] = {"approvals": {"plan": {**APPROVAL, **approval}}}
    plan = resource("aws:savingsplans/savingsPlan:SavingsPlan", {"commitment": commitment}, "plan")
    found = _findings("purchase-without-approval", settings, plan)
    assert [one.sentence for one in found if sentence] == [one.sentence for one in found]
    if sentence:
        assert sentence in found[0].sentence


@pytest.mark.parametrize("rule", ["too-much-promised", "commitment-above-floor", "cost-over-budget"])
def test_a_missing_price_is_never_taken_for_nothing(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = good("sandbox").settings
    plan = {"kind": "compute", "commitmentUsdPerHour": 1, "termYears": 1, "startsOn": "2026-07-01"}
    settings["commitments"] = {"maxCommittedUsdPerMonth": 9000, "savingsPlans": {"p": plan}}
    assert _findings(rule, settings) == ()
    monkeypatch.setattr(tables, "node_usd_per_hour", lambda *_: None)
    (found,) = _findings(rule, settings)
    assert found.status is Status.UNDECIDABLE
    assert "price of g6" in found.sentence


def test_a_machine_that_the_catalogue_lacks_leaves_the_peak_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "instance", lambda _: None)
    found = _findings("peak-not-absorbed", good("sandbox").settings)
    assert found[0].status is Status.UNDECIDABLE


def test_the_cost_adds_up_by_hand() -> None:
    from headrace.rules import money

    view = View(graph=Graph([]), today=TODAY, settings=load_settings(good("sandbox").settings))
    lines = {line.name: line for line in money.monthly(view)}
    # one g6.12xlarge is four L4 at 0.8048 USD an hour, on demand, for 730 hours
    assert lines["dedicated chat-floor"].low == pytest.approx(4 * 0.8048 * 730)
    assert lines["dedicated chat-floor"].high == pytest.approx(2 * 4 * 0.8048 * 730)
    assert lines["serverless chat-overflow"].low == 0
    assert all(line.low <= line.high for line in lines.values())
