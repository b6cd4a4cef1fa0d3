"""Traffic read from running servers: the sink's table in a real PostgreSQL, a range query over HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
import numpy as np
import pytest
from click.testing import CliRunner, Result

from headrace.audit.chain import Link
from headrace.audit.segments import read_links
from headrace.audit.sinks.postgres import PostgresSink
from headrace.cli.plan import plan
from headrace.errors import Refused
from headrace.planner.ingest import ingest
from headrace.planner.ledger import ENVIRONMENT_VARIABLE
from headrace.planner.sample import WORKLOAD as SAMPLE
from headrace.planner.traffic import Traffic
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import make_tables, open_folder, postgres_ready, start_postgres, wait_for
from tests.unit.planner.test_ledger import REQUESTS, START_S, WORKLOAD, journal, some_hours

pytestmark = pytest.mark.engine
PASSWORD = "s3cr/t"


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[int]:
    """A port with a PostgreSQL that has the ledger's tables and the roles `router` and `planner`."""
    port = free_port()
    with open_folder() as folder, start_postgres(port, folder) as running:
        wait_for(postgres_ready(port), what="PostgreSQL", seconds=180.0)
        asyncio.run(_tables(port))
        yield port
        running.kill(signal.SIGINT)


async def _tables(port: int) -> None:
    await make_tables(port)
    connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    await connection.execute(f"CREATE ROLE planner LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE nobody LOGIN")
    await connection.execute("GRANT USAGE ON SCHEMA headrace TO planner; GRANT SELECT ON headrace.entries TO planner")
    await connection.execute("CREATE DATABASE empty")
    await connection.close()


def dsn(port: int, user: str = "planner", password: str = PASSWORD, database: str = "postgres") -> str:
    return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


@pytest.fixture(scope="module")
def drained(postgres: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal, and the same in the table, brought there by the router's own sink."""
    folder = journal(tmp_path_factory.mktemp("journal") / "router-0", some_hours())
    links = [item for item in read_links(folder, "router-0") if isinstance(item, Link)]

    async def drain() -> None:
        sink = PostgresSink(f"postgresql://router@127.0.0.1:{postgres}/postgres")
        await sink.write(links)
        await sink.close()

    asyncio.run(drain())
    return folder


def read(traffic: str, folder: Path) -> Traffic:
    return ingest(traffic, WORKLOAD, folder=folder)[0]


def test_the_sinks_table_gives_the_demand_of_the_journal(postgres: int, drained: Path, tmp_path: Path) -> None:
    from_table, from_disk = read(dsn(postgres), tmp_path), read(str(drained), tmp_path)
    assert from_table.quality == from_disk.quality
    assert from_table.quality.kept == REQUESTS
    assert from_table.demand.gpus == pytest.approx(from_disk.demand.gpus, abs=1e-9)


def planned(workload: Path, *arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(
        plan, [*arguments, "--workload", str(workload), "--on", "2026-11-21", "--json"], env=variables
    )


def test_a_plan_from_the_database_by_argument_or_variable_shows_no_password(
    postgres: int, drained: Path, tmp_path: Path
) -> None:
    workload = tmp_path / "w.yaml"
    workload.write_text(SAMPLE, encoding="utf-8")
    given = planned(workload, dsn(postgres))
    by_variable = planned(workload, **{ENVIRONMENT_VARIABLE: dsn(postgres)})
    for result in (given, by_variable):
        assert result.exception is None, result.exception
        assert json.loads(result.stdout)["quality"]["kept"] == REQUESTS
        assert PASSWORD not in result.output
        assert quote(PASSWORD, safe="") not in result.output
    assert given.stdout == by_variable.stdout
    assert json.loads(planned(workload, str(drained)).stdout)["plan"] == json.loads(given.stdout)["plan"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"database": "nowhere"}, "has no such database"),
        ({"database": "empty"}, "has no table headrace.entries"),
        ({"user": "nobody"}, "doesn't let this user read the ledger"),
        ({"user": "absent"}, "didn't let this user in"),
        ({"port": 1}, "can't be reached"),
        ({"port": 999_999}, "can't be"),
    ],
)
def test_a_database_that_can_not_be_read_is_refused_without_its_password(
    change: dict[str, Any], sentence: str, postgres: int, tmp_path: Path
) -> None:
    workload = tmp_path / "w.yaml"
    workload.write_text(SAMPLE, encoding="utf-8")
    result = planned(workload, dsn(**{"port": postgres, **change}))
    assert isinstance(result.exception, Refused), result.exception
    said = f"{result.exception} {result.output} {result.exception.__cause__!r}"
    assert sentence in said
    assert f"postgresql://127.0.0.1:{change.get('port', postgres)}/" in said, "the address is named"
    assert PASSWORD not in said
    assert quote(PASSWORD, safe="") not in said


# -- Prometheus -------------------------------------------------------------------------------------------------------

MOST_POINTS = 11_000


def gpus_at(second: int) -> float:
    return round(4 + 3 * math.sin(second / 86400 * 2 * math.pi), 2)


class Prometheus(BaseHTTPRequestHandler):
    """A stand-in of the range query: two series, the real server's limit of points, its errors and its `NaN`."""

    asked: ClassVar[list[tuple[float, float]]] = []

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        start, end, step = float(query["start"]), float(query["end"]), 10.0
        points = int((end - start) / step) + 1
        if points > MOST_POINTS:
            self._answer(400, {"status": "error", "errorType": "bad_data", "error": "exceeded maximum resolution"})
            return
        if query["query"] != "gpus_in_use":
            self._answer(400, {"status": "error", "errorType": "bad_data", "error": "parse error: unknown position"})
            return
        Prometheus.asked.append((start, end))
        moments = [int(start + step * at) for at in range(points)]
        values = [[at, "NaN" if at == START_S + 500 else str(gpus_at(at))] for at in moments]
        half = [[at, "1"] for at in moments]
        result = [{"metric": {"pool": "a"}, "values": values}, {"metric": {"pool": "b"}, "values": half}]
        self._answer(200, {"status": "success", "data": {"resultType": "matrix", "result": result}})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_range_query_longer_than_one_answer_is_asked_in_pieces_and_summed(prometheus: str, tmp_path: Path) -> None:
    Prometheus.asked.clear()
    days = 3
    url = (
        f"http://me:s3cr@{prometheus}/api/v1/query_range?query=gpus_in_use"
        f"&start={START_S}&end=2026-10-08T00:00:00Z&step=10s"
    )
    found = read(url, tmp_path)
    assert len(Prometheus.asked) == 3, "25,921 points at most 10,000 at a time"
    ends = [moment for piece in Prometheus.asked for moment in piece]
    assert ends == sorted(set(ends)), "no point is asked twice"
    expected = np.array([gpus_at(START_S + at * 10) + 1 for at in range(days * 8640)])
    expected[50] = expected[49]  # the sample that is no number: the last value stays
    assert found.demand.gpus == pytest.approx(expected, abs=1e-9)
    assert (found.quality.rows, found.quality.kept, found.quality.broken) == (25_921, 25_920, 1)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("query=up[&start=1791158400&end=1791244800&step=10", "answered 400: parse error: unknown position"),
        ("query=gpus_in_use&start=1791158400&end=1791158300&step=10", "ends before it starts"),
        ("query=gpus_in_use&start=1791158400&end=1791244800&step=often", "has the step 'often'"),
        ("query=gpus_in_use&start=yesterday&end=1791244800&step=10", "has the time 'yesterday'"),
        ("query=gpus_in_use&start=1791158400", "lacks end, step in its query"),
    ],
)
def test_a_range_query_that_fails_is_refused_without_its_password(
    query: str, sentence: str, prometheus: str, tmp_path: Path
) -> None:
    with pytest.raises(Refused) as refused:
        read(f"http://me:s3cr@{prometheus}/api/v1/query_range?{query}", tmp_path)
    assert sentence in str(refused.value)
    assert "s3cr" not in str(refused.value)


def test_a_server_that_is_away_is_refused_without_its_password(tmp_path: Path) -> None:
    url = "http://me:s3cr@127.0.0.1:1/api/v1/query_range?query=up&start=1791158400&end=1791244800&step=10"
    with pytest.raises(Refused, match=r"can't be reached \(ConnectError\)") as refused:
        read(url, tmp_path)
    assert "s3cr" not in str(refused.value)
