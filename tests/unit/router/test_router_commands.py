"""`headrace router` and `headrace audit` as a person uses them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headrace.audit.record import Entry
from headrace.audit.spool import Spool
from headrace.cli.audit import audit
from headrace.cli.router import router
from headrace.errors import Refused
from tests.unit.audit.test_chain import entry
from tests.unit.router.worlds import document, overflow, pool

STACK = Path(__file__).resolve().parents[3] / "stacks" / "Pulumi.sandbox.yaml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(router, arguments, catch_exceptions=True)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "router.json"
    abroad = overflow(computeJurisdictions=["US"])
    file.write_text(json.dumps(document(pools={"floor": pool(), "abroad": abroad})))
    return file


def test_a_key_is_printed_once_and_only_its_hash_is_kept(tmp_path: Path, config_file: Path) -> None:
    keys = tmp_path / "keys.json"
    made = run("key", "--keys", str(keys), "--id", "k1", "--tenant", "search", "--project", "assistant")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert secret.startswith("hr_k1_")
    assert secret not in keys.read_text()
    assert keys.stat().st_mode & 0o077 == 0, "nobody else reads it"
    again = run("key", "--keys", str(keys), "--id", "k1", "--tenant", "search", "--project", "assistant")
    assert isinstance(again.exception, Refused)
    checked = run("check", "--config", str(config_file), "--keys", str(keys), "--json")
    answer = json.loads(checked.stdout)
    assert (answer["valid"], answer["keys"]) == (True, 1)
    assert answer["workloads"]["chat"]["floor"] == "ok"
    assert "jurisdiction" in answer["workloads"]["chat"]["abroad"]


def test_explain_says_in_one_line_where_a_request_goes(config_file: Path) -> None:
    free = run("explain", "--config", str(config_file), "--workload", "chat")
    assert free.stdout.count("\n") == 1
    assert "-> floor" in free.stdout
    full = run("explain", "--config", str(config_file), "--workload", "chat", "--in-flight", "floor=8", "--json")
    assert json.loads(full.stdout)["decision"] == "wait"
    for wrong in (("--workload", "nothing"), ("--workload", "chat", "--in-flight", "floor=x")):
        assert isinstance(run("explain", "--config", str(config_file), *wrong).exception, Refused)


def test_render_makes_a_configuration_that_check_accepts(tmp_path: Path) -> None:
    deployed, out = tmp_path / "deployed.json", tmp_path / "router.json"
    deployed.write_text(json.dumps({"chat-floor": {"url": "http://chat-floor.serving.svc:8000/v1"}}))
    made = run(
        *("render", "--stack-file", str(STACK), "--deployed", str(deployed), "--date", "2026-11-21", "--out", str(out))
    )
    assert made.exit_code == 0, made.output
    checked = run("check", "--config", str(out))
    assert "chat -> chat-floor: ok" in checked.stdout


def test_a_missing_configuration_is_a_sentence(tmp_path: Path) -> None:
    result = run("check", "--config", str(tmp_path / "nothing.json"))
    assert isinstance(result.exception, Refused)


def journal(folder: Path, count: int) -> None:
    """A spool with some entries, closed."""

    async def write() -> None:
        spool = Spool(folder, "w1")
        promises = [spool.append(one) for one in _entries(count)]
        await asyncio.gather(*(promise for promise in promises if promise is not None))
        spool.close()

    asyncio.run(write())


def _entries(count: int) -> list[Entry]:
    return [entry(number) for number in range(count)]


def test_a_journal_is_verified_and_a_changed_one_is_found(tmp_path: Path) -> None:
    journal(tmp_path / "spool", 5)
    good = CliRunner().invoke(audit, ["verify", str(tmp_path / "spool"), "--writer", "w1", "--json"])
    assert good.exit_code == 0, good.output
    answer = json.loads(good.stdout)
    assert (answer["intact"], answer["result"]["size"]) == (True, 5)
    assert answer["spentNano"]["2026-11 environment"] == 600
    other = CliRunner().invoke(audit, ["verify", str(tmp_path / "spool"), "--writer", "w2"])
    assert other.exit_code == 1, "another writer's name is another chain"
    missing = CliRunner().invoke(audit, ["verify", str(tmp_path / "nothing"), "--writer", "w1"])
    assert isinstance(missing.exception, Refused)


def test_a_damaged_entry_in_the_middle_is_no_torn_end(tmp_path: Path) -> None:
    journal(tmp_path / "spool", 5)
    file = next((tmp_path / "spool").glob("*.journal"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    found = CliRunner().invoke(audit, ["verify", str(tmp_path / "spool"), "--writer", "w1", "--json"])
    assert found.exit_code == 1
    answer = json.loads(found.stdout)
    assert (answer["result"]["what"], answer["result"]["expected"], answer["tornBytes"]) == ("sequence", "2", 0)
