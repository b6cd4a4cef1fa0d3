"""The router's ledger as traffic: entries written by the router's own spool, read back as requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from headrace.audit.record import Entry, Kind, canonical
from headrace.audit.segments import segments
from headrace.audit.spool import Spool
from headrace.errors import Refused
from headrace.planner import ledger as module
from headrace.planner.ingest import ingest
from headrace.planner.ledger import SCHEMA, public
from headrace.planner.traffic import Traffic
from headrace.planner.workload import Workload

START_S = 1_791_158_400
# Three hours.
REQUESTS = 540
WORKLOAD = Workload.model_validate(
    {
        "name": "chat",
        "model": {"weightsGib": 15, "kvCacheKibPerToken": 128},
        "gpu": "A100-80GB",
        "profile": {"prefillTokensPerSecond": 1000, "decodeTokensPerSecond": 100},
        "dedicated": {"usdPerHour": "2"},
        "serverless": {"usdPerSecond": "0.001"},
    }
)


def served(number: int, *, every_s: float = 20.0, latency_s: float = 4.0, **other: object) -> list[Entry]:
    """What the router writes about a request that it served: the reservation, and the outcome at its end."""
    arrived_us = round((START_S + number * every_s) * 1e6)
    held = Entry(
        kind=Kind.RESERVE,
        request_id=f"r{number}",
        at_us=arrived_us,
        period="2026-10",
        environment="sandbox",
        tenant=f"t{number % 2}",
        project="assistant",
        feature="search",
        workload="chat",
        pool="chat-floor",
        reserved_nano=5_000_000,
    )
    done = replace(
        held,
        kind=Kind.POST,
        at_us=arrived_us + round(latency_s * 1e6),
        latency_us=round(latency_s * 1e6),
        tokens_in=500,
        tokens_out=50,
        tokens_exact=True,
        status=200,
        outcome="ok",
        cost_nano=1_000_000,
    )
    return [held, replace(done, **other)]  # type: ignore[arg-type] # the caller names fields of Entry


def journal(folder: Path, entries: Iterable[Entry]) -> Path:
    spool = Spool(folder, folder.name)
    for entry in entries:
        spool.append(entry, wait=False)
    spool.close()
    return folder


def read(path: Path, **only: str) -> Traffic:
    return ingest(str(path), WORKLOAD, folder=path.parent, only=only)[0]


def some_hours(workload: str = "chat") -> list[Entry]:
    return [entry for number in range(REQUESTS) for entry in served(number, workload=workload)]


def as_lines(path: Path, entries: Iterable[Entry], wrap: bytes = b"%s") -> Path:
    path.write_bytes(b"\n".join(wrap % canonical(entry)[1:] for entry in entries) + b"\n")
    return path


def test_a_journal_lines_and_rows_of_the_table_give_the_demand_of_the_same_plain_requests(tmp_path: Path) -> None:
    entries = some_hours()
    plain = tmp_path / "plain.csv"
    rows = [(START_S + number * 20.0, f"r{number}", 500, 50, 4.0) for number in range(REQUESTS)]
    pl.DataFrame(
        rows, schema=["timestamp", "request_id", "tokens_in", "tokens_out", "latency_s"], orient="row"
    ).write_csv(plain)
    expected = read(plain).demand
    assert expected.gpus.max() > 0, "guard: there is demand"
    for given in (
        journal(tmp_path / "router-0", entries),
        as_lines(tmp_path / "entries.jsonl", entries),
        as_lines(tmp_path / "rows.jsonl", entries, b'{"writer": "router-0", "sequence": 1, "body": %s}'),
    ):
        found = read(given)
        assert found.demand.origin_s == expected.origin_s
        assert found.demand.gpus == pytest.approx(expected.gpus, abs=1e-6), given.name
        assert (found.quality.rows, found.quality.kept, found.quality.broken) == (REQUESTS, REQUESTS, 0)
        assert set(found.by_group["tenant"]) == {"t0", "t1"}


def test_replicas_journals_are_read_together_and_requests_counted_once(tmp_path: Path) -> None:
    entries = some_hours()
    journal(tmp_path / "router-0", entries[: len(entries) // 2])
    journal(tmp_path / "router-1", entries[len(entries) // 2 - 20 :])
    found = read(tmp_path)
    assert found.quality.kept == REQUESTS
    assert found.quality.repeated == 10, "ten requests stand in both journals"


def test_a_large_journal_goes_through_bounded_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = journal(tmp_path / "router-0", some_hours())
    whole = read(given).demand.gpus
    monkeypatch.setattr(module, "PART_ROWS", 100)
    assert read(given).demand.gpus.tolist() == whole.tolist()


def test_what_was_not_served_is_counted_and_is_no_demand(tmp_path: Path) -> None:
    entries = some_hours()
    before = read(journal(tmp_path / "a", entries)).demand.gpus
    for number, kind in enumerate((Kind.REFUSE, Kind.REFUSE, Kind.VOID, Kind.EXPIRE)):
        entries.append(replace(entries[0], kind=kind, request_id=f"x{number}", tokens_in=0, tokens_out=0))
    entries.append(replace(entries[0], kind=Kind.OVERHEAD, request_id="", cost_nano=7))
    entries += served(9, workload="other", request_id="y")
    found = read(journal(tmp_path / "b", entries))
    assert found.demand.gpus.tolist() == before.tolist()
    said = "\n".join(found.quality.sentences())
    assert "2 requests were refused by the router" in said
    assert "1 requests were never sent" in said
    assert "1 requests were lost in a crash" in said
    assert "1 requests of other workloads left out" in said


def test_waiting_and_cold_starts_hold_no_replica(tmp_path: Path) -> None:
    waited = [entry for number in range(REQUESTS) for entry in served(number, latency_s=34.0, wait_us=30_000_000)]
    cold = [entry for number in range(REQUESTS) for entry in served(number, latency_s=34.0, cold=True)]
    plain = read(journal(tmp_path / "plain", some_hours())).demand.gpus
    assert read(journal(tmp_path / "waited", waited)).demand.gpus == pytest.approx(plain, abs=1e-6)
    assert read(journal(tmp_path / "cold", cold)).demand.gpus.sum() == pytest.approx(plain.sum(), rel=0.02)


def test_a_torn_end_and_a_drained_beginning_are_told(tmp_path: Path) -> None:
    given = journal(tmp_path / "router-0", some_hours())
    last = segments(given)[-1].path
    last.write_bytes(last.read_bytes()[:-7])
    later = given / f"{100:016d}.journal"
    last.rename(later)
    said = "\n".join(read(given).quality.sentences())
    assert "bytes are no whole entry" in said
    assert "100 earlier entries were drained" in said


def test_an_export_that_begins_with_refusals_loses_no_column(tmp_path: Path) -> None:
    refused = [replace(served(n)[0], kind=Kind.REFUSE, request_id=f"x{n}", reserved_nano=0) for n in range(1500)]
    found = read(as_lines(tmp_path / "entries.jsonl", [*refused, *some_hours()]))
    assert (found.quality.kept, found.mean_tokens_in, found.mean_tokens_out) == (REQUESTS, 500, 50)


def test_the_columns_are_those_of_the_routers_entry() -> None:
    assert {"kind", "request_id", "at_us", "latency_us", "wait_us", "cold", "workload"} <= SCHEMA.keys()
    assert SCHEMA["cold"] == pl.Boolean
    assert SCHEMA["at_us"] == pl.Int64


def test_a_ledger_without_the_workload_or_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no request of the workload 'chat', because it has other"):
        read(journal(tmp_path / "a", served(1, workload="other")))
    with pytest.raises(Refused, match="holds no request that was served"):
        read(journal(tmp_path / "b", served(1)[:1]))
    (tmp_path / "c").mkdir()
    with pytest.raises(Refused, match="is a folder without a journal"):
        read(tmp_path / "c")
    assert read(journal(tmp_path / "d", some_hours("other")), model="other").quality.kept == REQUESTS, (
        "--only chooses another"
    )


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgres://me:s3cr@host:5432/books?password=s3cr", "postgres://host:5432/books"),
        ("postgresql:///books?host=/run&user=me&password=s3cr", "postgresql:///books"),
        ("http://me:s3cr@host:9090/api?query=up", "http://host:9090/api?query=up"),
        ("postgres://me:s3[cr@host/books", "postgres://…"),
        ("traffic.csv", "traffic.csv"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_password(address: str, shown: str) -> None:
    assert public(address) == shown
