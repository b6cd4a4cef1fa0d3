"""Waivers: what they cover, what refuses them, and what a malformed file is told."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from headrace.errors import Refused
from headrace.rules import waiver
from headrace.rules.finding import Finding, Severity, Status

TODAY = date(2026, 11, 21)
ENTRY: dict[str, Any] = {
    "policy": "imds-v1",
    "resource": "old-*",
    "reason": "it goes away in January",
    "approver": "somebody",
    "ticket": "T-1",
    "expires": date(2027, 1, 31),
}


def _finding(name: str = "old-node", status: Status = Status.VIOLATION, rule: str = "imds-v1") -> Finding:
    return Finding(
        rule=rule,
        severity=Severity.HIGH,
        status=status,
        resource=f"urn:pulumi:s::p::aws:ec2/instance:Instance::{name}",
        sentence="s",
        remediation="r",
    )


def _apply(entry: dict[str, Any], *findings: Finding, environment: str | None = "prod") -> waiver.Outcome:
    waivers = waiver.read({"waivers": [{**ENTRY, **entry}]}, "w.yaml", ["imds-v1"])
    return waiver.apply(findings, waivers, environment=environment, today=TODAY)


def test_a_waiver_excuses_its_policy_on_its_resources_only() -> None:
    other, elsewhere = _finding(rule="other"), _finding("new-node")
    outcome = _apply({}, _finding(), other, elsewhere)
    assert outcome.open == (other, elsewhere)
    assert [finding for finding, _ in outcome.waived] == [_finding()]
    assert not outcome.unused
    assert not outcome.complaints


def test_what_cannot_be_decided_is_never_excused() -> None:
    assert _apply({}, _finding(status=Status.UNDECIDABLE)).open


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"expires": date(2026, 11, 20)}, "expired on 2026-11-20"),
        ({"expires": date(2028, 11, 20)}, "longer than a year"),
        ({"resource": "*"}, "too broad"),
        ({"resource": "*-?"}, "too broad"),
        ({"resource": "urn:pulumi:s::p::aws:ec2/instance:Instance::*"}, "too broad"),
        ({"resource": "settings:*"}, "too broad"),
    ],
)
def test_an_expired_or_too_broad_waiver_refuses_and_excuses_nothing(entry: dict[str, Any], why: str) -> None:
    outcome = _apply(entry, _finding())
    assert outcome.open == (_finding(),)
    assert why in outcome.complaints[0].sentence


def test_the_last_day_still_counts() -> None:
    assert _apply({"expires": TODAY}, _finding()).waived


def test_an_unused_waiver_is_told() -> None:
    outcome = _apply({})
    assert outcome.unused
    assert "excuses nothing" in waiver.unused(outcome.unused[0]).sentence


def test_a_waiver_of_another_environment_is_not_looked_at() -> None:
    outcome = _apply({"environments": ["dev"], "expires": date(2020, 1, 1)}, _finding())
    assert outcome.open
    assert not outcome.complaints


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"policy": "imds-v2"}, "did you mean imds-v1"),
        ({"reason": "because"}, "why in 15 characters"),
        ({"reason": None}, "reason: it must be text"),
        ({"approver": ""}, "approver"),
        ({"ticket": 7}, "ticket is 7: it must be text"),
        ({"expires": "soon"}, "expires is 'soon': it must be a date"),
        ({"expires": None}, "expires: it must be a date"),
        ({"until": "x"}, "there is no such field"),
        ({"environments": "prod"}, "it must be a list of names"),
    ],
)
def test_a_malformed_entry_is_told_what_is_wrong(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=r"waivers\[0\]") as caught:
        _apply(entry)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("document", [None, [], {"waiver": []}, {"waivers": {}}, {"waivers": [3]}])
def test_a_malformed_file_is_refused(document: object) -> None:
    with pytest.raises(Refused, match=r"w\.yaml"):
        waiver.read(document, "w.yaml", [])
