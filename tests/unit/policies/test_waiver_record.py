"""Each use of a waiver is entered into the audit record, or the waiver doesn't count."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from headrace.audit import waiver_uses
from headrace.audit.chain import Broken, Intact
from headrace.audit.record import RecordError
from headrace.cli.audit import audit
from headrace.rules.graph import Graph, Resource
from headrace.rules.records import key_without_rotation
from headrace.rules.waiver import Waiver
from headrace_policies import pack, session

USE = waiver_uses.Use(
    at="2026-11-22T02:00:00+00:00",
    run="preview",
    stack="prod-eu",
    policy="key-without-rotation",
    resource="urn:pulumi:a::b::aws:kms/key:Key::still",
    finding="enableKeyRotation is off",
    reason="imported material follows soon",
    approver="a@example.org",
    ticket="T-1",
    expires="2027-01-31",
    policy_version="0.1.0",
    commit="0" * 40,
    waivers_sha256="1" * 64,
)
WAIVER = Waiver(
    policy=USE.policy, resource="still", reason=USE.reason, approver="a", ticket="T-1", expires=date(2027, 1, 31)
)


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    monkeypatch.setattr(session, "loaded", lambda: session.Loaded(settings=None))
    monkeypatch.setattr(session, "waivers", lambda: (WAIVER,))
    monkeypatch.setattr(session, "today", lambda: date(2026, 11, 22))
    monkeypatch.setattr(pack, "_SAID", set())
    return Graph([Resource(urn=USE.resource, type="aws:kms/key:Key", name="still", props={})])


def test_a_use_is_recorded_once_a_run_with_version_and_commit(
    graph: Graph, record_of_waivers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG", "{}")
    monkeypatch.setenv("PULUMI_DRY_RUN", "false")
    for _ in range(2):
        assert pack.judge(key_without_rotation.RULE, graph, {}) == (), "a valid waiver excuses the finding"
    ((link, use),) = waiver_uses.read(record_of_waivers)
    assert (use.run, use.policy, use.ticket, use.approver) == ("update", USE.policy, "T-1", "a")
    assert use.policy_version == "0.1.0"
    assert len(use.commit) == 40 or use.commit == "unknown"
    assert len(use.waivers_sha256) == 64
    assert f"[audit record: entry 0, head {link.hash.hex()[:16]}]" in capsys.readouterr().out


def test_a_waiver_whose_use_cannot_be_recorded_does_not_count(
    graph: Graph, record_of_waivers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_of_waivers.parent.write_text("a file where the folder should be", encoding="utf-8")
    (finding,) = pack.judge(key_without_rotation.RULE, graph, {})
    assert "waiver T-1 doesn't count: its use can't be recorded" in finding.sentence


@pytest.mark.parametrize("harm", ["changed", "taken out", "swapped"])
def test_a_record_that_was_tampered_with_is_found(tmp_path: Path, harm: str) -> None:
    file = tmp_path / "uses.jsonl"
    for number in range(4):
        waiver_uses.append(file, replace(USE, ticket=f"T-{number}"))
    assert isinstance(waiver_uses.verify(file), Intact)
    lines = file.read_text(encoding="utf-8").splitlines()
    if harm == "changed":
        lines[1] = lines[1].replace("T-1", "T-9")
    elif harm == "taken out":
        del lines[2]
    else:
        lines[1], lines[2] = lines[2], lines[1]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = waiver_uses.verify(file)
    assert isinstance(result, Broken)
    assert result.position == {"changed": 1, "taken out": 2, "swapped": 1}[harm]


def test_half_a_line_of_a_crash_goes_and_the_chain_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "uses.jsonl"
    waiver_uses.append(file, USE)
    with file.open("ab") as handle:
        handle.write(b'{"sequence": 1, "at"')
    assert waiver_uses.append(file, USE).sequence == 1
    assert waiver_uses.verify(file) == Intact(writer="waivers", size=2, head=list(waiver_uses.read(file))[-1][0].hash)


@pytest.mark.parametrize("content", ["{}\n", "[1]\n", "not JSON\n", '{"sequence": 0, "hash": "zz"}\n'])
def test_a_record_that_is_none_is_never_built_upon(tmp_path: Path, content: str) -> None:
    file = tmp_path / "uses.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(waiver_uses.NotRecorded):
        waiver_uses.append(file, USE)
    with pytest.raises(RecordError):
        waiver_uses.verify(file)


def test_the_command_lists_uses_and_says_whether_the_record_holds(tmp_path: Path) -> None:
    file = tmp_path / "uses.jsonl"
    waiver_uses.append(file, USE)
    shown = CliRunner().invoke(audit, ["waivers", str(file)])
    assert shown.exit_code == 0
    assert "key-without-rotation on still, a@example.org (T-1) until 2027-01-31" in shown.output
    assert json.loads(CliRunner().invoke(audit, ["waivers", str(file), "--json"]).output)["intact"] is True
    file.write_text(file.read_text(encoding="utf-8").replace("T-1", "T-2"), encoding="utf-8")
    shown = CliRunner().invoke(audit, ["waivers", str(file)])
    assert shown.exit_code == 1
    assert "broken at entry 0" in shown.output
