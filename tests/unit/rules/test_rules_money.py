"""Approvals of purchases, and prices that the catalogue doesn't have."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from headrace.rules import engine, tables
from headrace.rules.finding import Finding, Status
from headrace.rules.graph import Graph, Unknown
from headrace.rules.registry import RULES
from headrace.rules.rule import View
from headrace.settings.load import load as load_settings
from tests.unit.components.recording import stack_settings
from tests.unit.rules.good_stacks import TODAY, resource

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
    settings = stack_settings("sandbox")
    settings["commitments"] = {"approvals": {"plan": {**APPROVAL, **approval}}}
    plan = resource("aws:savingsplans/savingsPlan:SavingsPlan", {"commitment": commitment}, "plan")
    found = _findings("purchase-without-approval", settings, plan)
    assert [one.sentence for one in found if sentence] == [one.sentence for one in found]
    if sentence:
        assert sentence in found[0].sentence


@pytest.mark.parametrize("rule", ["too-much-promised", "commitment-above-floor", "cost-over-budget"])
def test_a_missing_price_is_never_taken_for_nothing(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = stack_settings("sandbox")
    plan = {"kind": "compute", "commitmentUsdPerHour": 1, "termYears": 1, "startsOn": "2026-07-01"}
    settings["commitments"] = {"maxCommittedUsdPerMonth": 9000, "savingsPlans": {"p": plan}}
    assert _findings(rule, settings) == ()
    monkeypatch.setattr(tables, "node_usd_per_hour", lambda *_: None)
    (found,) = _findings(rule, settings)
    assert found.status is Status.UNDECIDABLE
    assert "price of g6" in found.sentence


def test_a_machine_that_the_catalogue_lacks_leaves_the_peak_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "instance", lambda _: None)
    found = _findings("peak-not-absorbed", stack_settings("sandbox"))
    assert found[0].status is Status.UNDECIDABLE


def test_the_cost_adds_up_by_hand() -> None:
    from headrace.rules import money

    view = View(graph=Graph([]), today=TODAY, settings=load_settings(stack_settings("sandbox")))
    lines = {line.name: line for line in money.monthly(view)}
    floor = lines["dedicated chat-floor"]
    assert floor.low == pytest.approx(4200.6317), "one g6.12xlarge in eu-central-1: 5.75429 USD an hour x 730 hours"
    assert floor.high == pytest.approx(8401.2634), "its ceiling is two: 2 x 5.75429 x 730"
    digest = lines["dedicated digest-floor"]
    assert digest.low == pytest.approx(734.672), "one g6.xlarge in eu-central-1: 1.0064 x 730"
    assert lines["serverless chat-overflow"].low == 0
    assert all(line.low <= line.high for line in lines.values())


def test_the_same_pools_cost_what_their_region_takes() -> None:
    from headrace.rules import money

    settings = load_settings(stack_settings("sandbox"))
    cost = {
        region: money.floor_usd_per_hour(settings.model_copy(update={"region": region}), TODAY)
        for region in ("us-east-1", "eu-central-1")
    }
    assert cost["us-east-1"] == pytest.approx(5.4064), "g6.12xlarge 4.6016 + g6.xlarge 0.8048"
    assert cost["eu-central-1"] == pytest.approx(6.76069), "5.75429 + 1.0064"


def test_a_price_of_another_region_or_an_old_one_is_said_beside_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.rules import money
    from headrace.rules.cost import cost_over_budget

    settings = load_settings(stack_settings("sandbox"))
    view = View(graph=Graph([]), today=TODAY, settings=settings)
    line = cost_over_budget.summary(view)
    assert line is not None
    assert line.endswith(")"), f"no doubt about prices of this region, looked at lately: {line}"
    later = View(graph=Graph([]), today=date(2027, 3, 1), settings=settings)
    assert "the price of g6.12xlarge was checked 99 days ago" in (cost_over_budget.summary(later) or "")
    asked = tables.node_price
    monkeypatch.setattr(tables, "node_price", lambda kind, _, day: asked(kind, "eu-west-1", day))
    assert money.doubts(view)[0] == (
        "g6.12xlarge has no price in eu-central-1, that of ap-northeast-1 is the dearest"
    ), "g6 isn't sold in eu-west-1"


def test_parts_beside_gpus_are_priced_by_region_or_by_the_dearest_that_is_known() -> None:
    assert tables.platform_usd("nat", "us-east-1") == 0.045
    assert tables.platform_usd("nat", "ap-south-1") == 0.052, "the dearest known one, never nothing"
    assert tables.platform_usd("moon base", "us-east-1") is None
    assert tables.machine_usd_per_hour("m7i.xlarge", "us-east-1") == pytest.approx(0.2016)
    assert tables.machine_usd_per_hour("m7i.4xlarge", "us-east-1") == pytest.approx(4 * 0.2016)
    assert tables.machine_usd_per_hour("db.t4g.micro", "us-east-1") == pytest.approx(0.01625)
    assert tables.machine_usd_per_hour("x9.large", "us-east-1") is None


def test_a_router_brings_its_machines_and_its_data_stores_into_the_cost() -> None:
    from headrace.rules import money

    settings = stack_settings("prod-us")
    settings["router"] = {
        "image": f"ghcr.io/acme/router@sha256:{'a' * 64}",
        "minReplicas": 2,
        "instanceType": "m7i.xlarge",
        "journalGib": 20,
    }
    settings["dataStores"] = {
        "cache": {"nodeType": "cache.t4g.small", "nodes": 2},
        "database": {"instanceClass": "db.t4g.medium", "storageGib": 50, "multiZone": True},
    }
    view = View(graph=Graph([]), today=TODAY, settings=load_settings(settings))
    lines = {line.name: line for line in money.monthly(view)}
    assert view.settings is not None
    nodes = max(2, len(view.settings.network.zones))
    # m7i.xlarge 0.2016 USD an hour; 20 GiB of journal at 0.08 a replica
    expected = nodes * 0.2016 * 730 + 2 * 20 * 0.08
    assert lines["router"].low == pytest.approx(expected)
    # two cache.t4g.small, and db.t4g.medium with 50 GiB in two zones
    assert lines["data stores"].low == pytest.approx((2 * 0.0256 + 2 * 0.065) * 730 + 2 * 50 * 0.115)
