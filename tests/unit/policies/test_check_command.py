"""What `headrace check` prints and refuses. The engine's part is in tests/engine/policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from headrace.cli import check_output
from headrace.cli.check import check
from headrace.cli.check_config import checked
from headrace.cli.check_run import Checked
from headrace.errors import Refused
from headrace.rules.registry import RULES

URN = "urn:pulumi:s::p::headrace:index:GpuCluster$aws:kms/key:Key::still"


def _record(policy: str = "key-without-rotation", **more: Any) -> dict[str, Any]:
    return {
        "policy": policy,
        "severity": "medium",
        "status": "violation",
        "resource": URN,
        "sentence": "enableKeyRotation is off",
        "remediation": "set it",
        **more,
    }


WAIVED = _record("imds-v1", waiver={"reason": "r", "approver": "a", "ticket": "T-1", "expires": "2027-01-01"})
RESULT = Checked(
    subject="prod-eu",
    seconds=3.2,
    open=[_record(), _record(status="undecidable")],
    waived=[WAIVED],
    cost="monthly cost 1",
)


def test_people_see_findings_by_policy_with_what_to_do_once() -> None:
    text = check_output.text([RESULT])
    assert "prod-eu: 2 findings that block (3 s)" in text
    assert "aws:kms/key:Key still: enableKeyRotation is off" in text
    assert "can't be decided: enableKeyRotation is off" in text
    assert text.count("-> set it") == 1
    assert "waived: imds-v1" in text
    assert "monthly cost 1" in text


def test_sarif_names_every_rule_and_suppresses_what_was_waived() -> None:
    document = json.loads(check_output.sarif([RESULT], "1.0"))
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {rule.id for rule in RULES}
    assert [len(one.get("suppressions", [])) for one in run["results"]] == [0, 0, 1]
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "stacks/Pulumi.prod-eu.yaml"


def test_sarif_points_at_the_line_of_the_setting_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "stacks" / "Pulumi.x.yaml"
    file.parent.mkdir()
    file.write_text(
        "config:\n  inference:region: eu-central-1\n  inference:router:\n    minReplicas: 1\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    paths = ("settings:router.minReplicas", "settings:router.spill.maxWaitMs", "settings:budgets", URN)
    result = Checked(subject="x", source=str(file), open=[_record(resource=path) for path in paths])
    (run,) = json.loads(check_output.sarif([result], "1.0"))["runs"]
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    assert {place["artifactLocation"]["uri"] for place in places} == {"stacks/Pulumi.x.yaml"}
    assert [place["region"]["startLine"] for place in places] == [4, 3, 1, 1]


def test_junit_has_a_case_for_each_policy_that_fails_or_is_skipped() -> None:
    suites = ElementTree.fromstring(check_output.junit([RESULT]))  # noqa: S314 - our own text
    (suite,) = suites
    assert suite.get("tests") == str(len(RULES))
    assert suite.get("failures") == "1"
    assert [case.get("name") for case in suite if case.find("skipped") is not None] == ["imds-v1"]


def test_a_comment_links_the_policys_page() -> None:
    comment = check_output.markdown([RESULT])
    assert "[key-without-rotation](docs/policies/key-without-rotation.md)" in comment
    assert "waived: imds-v1" in comment


def test_a_run_that_the_engine_could_not_finish_is_never_clean() -> None:
    broken = Checked(subject="x", failure="it ended\nbadly")
    assert "could not be checked" in check_output.text([broken])
    assert 'errors="1"' in check_output.junit([broken])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "it is not JSON"),
        ("[]", "it must be a mapping of policies"),
        ('{"imds-v2": {}}', "there is no policy of that name"),
        ('{"imds-v1": "off"}', "it must be one of advisory, mandatory, disabled"),
        ('{"imds-v1": {"maxHop": 2}}', "there is no such parameter"),
        ('{"imds-v1": {"maxHops": "two"}}', "it must be a number"),
        ('{"imds-v1": {"maxHops": 0}}', "it must be between 1 and 64"),
        ('{"imds-v1": {"exempt": "x"}}', "it must be a list of resource names"),
        ('{"image-from-foreign-registry": {"allowedRegistries": [1]}}', "it must be a list of words"),
        ('{"imds-v1": 3}', "it must be a level or a mapping"),
    ],
)
def test_a_malformed_configuration_is_told_what_is_wrong(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(Refused) as caught:
        checked(file)
    assert sentence in str(caught.value)


def test_a_good_configuration_passes(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"all": "mandatory", "imds-v1": {"maxHops": 2, "exempt": ["x"]}}', encoding="utf-8")
    assert checked(file) == file


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["sandbox", "--all-stacks"],
        ["--settings", "missing.yaml"],
        ["--settings", "x.yaml", "--against", "live"],
        ["sandbox", "--policy-config", "missing.json"],
    ],
)
def test_what_cannot_be_checked_is_refused_before_anything_starts(argv: list[str]) -> None:
    result = CliRunner().invoke(check, argv)
    assert isinstance(result.exception, Refused)
