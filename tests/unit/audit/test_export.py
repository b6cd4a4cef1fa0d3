"""Exports and checkpoints: what leaves the journal can be checked against it, and nothing can be cut off unseen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from headrace.audit import checkpoints, lines
from headrace.audit.chain import Broken, Checkpoint, Intact, sign, verify
from headrace.audit.checkpoints import CheckpointError, Checkpoints, FolderStore
from headrace.audit.record import FORMAT, canonical, encode, parse, reference
from headrace.audit.spool import Spool
from headrace.cli.audit import audit
from headrace.errors import Refused
from tests.unit.audit.test_chain import chain, entry

SECRET = "a secret of sixteen"
KEY = checkpoints.key_of(SECRET.encode())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(audit, arguments, env={"HEADRACE_HASH_SECRET": SECRET}, catch_exceptions=True)


async def fill(spool: Spool, count: int, start: int = 0) -> None:
    promises = [spool.append(entry(number, decision="zwölf\nlines")) for number in range(start, start + count)]
    await asyncio.gather(*(promise for promise in promises if promise is not None))


def journal(folder: Path, count: int) -> None:
    async def write() -> None:
        spool = Spool(folder, "w1")
        await fill(spool, count)
        spool.close()

    asyncio.run(write())


@given(
    st.dictionaries(
        st.text(min_size=1), st.one_of(st.text(), st.integers(-(2**70), 2**70), st.booleans()), min_size=1, max_size=8
    )
)
def test_the_fast_writer_gives_the_bytes_of_the_reference(document: dict[str, str | int]) -> None:
    applies = {name: value for name, value in document.items() if value}
    assert encode(document) == FORMAT + reference(applies)


def test_an_export_verifies_and_a_changed_dropped_or_cut_line_is_found(tmp_path: Path) -> None:
    journal(tmp_path / "spool", 6)
    out = tmp_path / "ledger.jsonl"
    made = run("export", str(tmp_path / "spool"), "--writer", "w1", "--out", str(out), "--json")
    assert made.exit_code == 0, made.output
    rows = out.read_bytes().splitlines(keepends=True)
    assert [FORMAT + row.rstrip(b"\n") for row in rows] == [
        canonical(entry(number, decision="zwölf\nlines")) for number in range(6)
    ]
    good = run("verify", str(out), "--writer", "w1", "--json")
    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["result"]["head"] == json.loads(made.stdout)["head"]
    for changed in (rows[:-1], rows[1:], [rows[1], rows[0], *rows[2:]], [rows[0].replace(b"120", b"119"), *rows[1:]]):
        out.write_bytes(b"".join(changed))
        assert run("verify", str(out), "--writer", "w1").exit_code == 1


def test_a_broken_journal_is_not_exported(tmp_path: Path) -> None:
    journal(tmp_path / "spool", 3)
    out = tmp_path / "ledger.jsonl"
    wrong = run("export", str(tmp_path / "spool"), "--writer", "w2", "--out", str(out))
    assert (wrong.exit_code, out.exists()) == (1, False)
    assert isinstance(run("export", "--writer", "w1", "--out", str(out)).exception, Refused)
    assert isinstance(run("export", str(tmp_path / "no"), "--writer", "w1", "--out", str(out)).exception, Refused)


async def test_checkpoints_follow_the_chain_and_show_what_was_cut_off(tmp_path: Path) -> None:
    spool, store = Spool(tmp_path / "spool", "w1"), FolderStore(tmp_path / "bucket")
    told: list[str] = []
    keeper = Checkpoints(spool, store, key=KEY, interval_s=lambda: 60, now_us=lambda: 7, told=told.append)
    assert await keeper.step(), "nothing to say of an empty chain"
    await fill(spool, 3)
    assert await keeper.step()
    assert await keeper.step(), "and nothing again until it grows"
    await fill(spool, 2, start=3)
    await keeper.last()
    known = checkpoints.read(store, "w1", KEY)
    assert [one.size for one in known] == [3, 5]
    assert told == ["kept", "kept"]
    links = list(spool.links())
    assert isinstance(verify("w1", links, known), Intact)
    assert isinstance(verify("w1", links[:4], known), Broken), "an end that was cut off"
    assert isinstance(verify("w1", chain(5), known), Broken), "another chain of the same length"
    spool.close()


async def test_a_store_that_is_away_is_asked_again_and_the_router_goes_on(tmp_path: Path) -> None:
    class Away(FolderStore):
        away = True

        def put(self, name: str, data: bytes) -> None:
            if self.away:
                raise OSError("no")
            super().put(name, data)

    spool, store = Spool(tmp_path / "spool", "w1"), Away(tmp_path / "bucket")
    told: list[str] = []
    keeper = Checkpoints(spool, store, key=KEY, interval_s=lambda: 60, now_us=lambda: 7, told=told.append)
    await fill(spool, 1)
    assert not await keeper.step()
    store.away = False
    assert await keeper.step()
    assert told == ["failed", "kept"]
    spool.close()


def test_verify_holds_a_journal_against_its_checkpoints(tmp_path: Path) -> None:
    journal(tmp_path / "spool", 4)
    store = FolderStore(tmp_path / "bucket")
    links = list(lines.read(_exported(tmp_path), "w1"))
    good = sign(Checkpoint(writer="w1", size=4, head=links[-1].hash, at_us=1), KEY)
    store.put("checkpoints/w1/0000000000000004.json", checkpoints.to_json(good))
    arguments = ("verify", str(tmp_path / "spool"), "--writer", "w1", "--checkpoints", str(tmp_path / "bucket"))
    assert run(*arguments).exit_code == 0
    later = sign(Checkpoint(writer="w1", size=5, head=bytes(32), at_us=2), KEY)
    store.put("checkpoints/w1/0000000000000005.json", checkpoints.to_json(later))
    assert run(*arguments).exit_code == 1, "entries are missing at the end"
    forged = sign(later, b"another key")
    store.put("checkpoints/w1/0000000000000005.json", checkpoints.to_json(forged))
    assert isinstance(run(*arguments).exception, Refused)
    assert isinstance(run(*arguments[:-1], str(tmp_path / "no")).exception, Refused)


def _exported(folder: Path) -> Path:
    out = folder / "ledger.jsonl"
    assert run("export", str(folder / "spool"), "--writer", "w1", "--out", str(out)).exit_code == 0
    return out


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"writer": "w1", "size": "x", "head": "", "atUs": 1, "mac": ""}']
)
def test_what_is_no_checkpoint_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        checkpoints.from_json(data, KEY)
    with pytest.raises(CheckpointError):
        checkpoints.folder_of("../other")


def test_lines_are_entries() -> None:
    assert (
        parse(
            encode(
                {
                    "kind": "post",
                    "request_id": "q",
                    "at_us": 1,
                    "period": "p",
                    "environment": "e",
                    "tenant": "t",
                    "project": "p",
                }
            )
        ).request_id
        == "q"
    )
