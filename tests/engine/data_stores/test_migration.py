"""`headrace audit migrate` against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed
import pytest

from headrace.audit.sinks.base import SinkUnavailable
from headrace.audit.sinks.migrate import Login, migrate, verifier
from headrace.audit.sinks.postgres import PostgresSink
from headrace_sandbox.kubernetes import pki
from headrace_sandbox.supervise_ports import free_port
from tests.engine.router.world import postgres_ready, start_postgres, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.enable_socket]
MASTER = Login(user="postgres", password="unused where the server trusts loopback")
PASSWORD = "first-of-two-passwords"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("migration"), free_port()
    with start_postgres(port, folder):
        wait_for(postgres_ready(port), what="PostgreSQL")
        yield f"postgresql://127.0.0.1:{port}/postgres"


def log_of(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*.log"))


async def test_it_makes_what_the_router_needs_and_again_changes_nothing(
    address: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await migrate(address, MASTER, role="headrace_router", password=PASSWORD)
    await migrate(address, MASTER, role="headrace_router", password=PASSWORD)
    sink = PostgresSink(address.replace("//", "//headrace_router@"))
    assert await sink.size("router-0") == 0, "the router's role finds its tables"
    await sink.close()
    connection = await asyncpg.connect(address.replace("//", "//headrace_router@"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM headrace.entries")
    await connection.close()
    assert PASSWORD not in log_of(tmp_path_factory.getbasetemp()), "the password is in no statement"


async def test_the_hourly_floors_part_is_made_where_it_is_asked_for_and_again_changes_nothing(address: str) -> None:
    """A ledger that is older than the floor gets its part with the next migration."""
    await migrate(address, MASTER, role="headrace_router", password=PASSWORD)
    for _ in range(2):
        await migrate(
            address, MASTER, role="headrace_router", password=PASSWORD, floor_role=("headrace_floor", "second-password")
        )
    connection = await asyncpg.connect(address.replace("//", "//headrace_floor@"))
    assert await connection.fetchval("SELECT count(*) FROM headrace.work") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("SELECT 1 FROM headrace.entries")
    await connection.close()


async def test_two_migrations_at_once_wait_for_each_other(address: str) -> None:
    await asyncio.gather(
        *(migrate(address, MASTER, role=f"role_{number % 2}", password=PASSWORD) for number in range(6))
    )


async def test_the_server_takes_our_form_of_a_password_as_its_own(address: str) -> None:
    """The server's own form of the same password with the same salt is the same text."""
    connection = await asyncpg.connect(address.replace("//", "//postgres@"))
    await connection.execute("CREATE ROLE by_server LOGIN PASSWORD 'pencil-and-paper'")
    stored = await connection.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'by_server'")
    await connection.close()
    salt = base64.b64decode(stored.split("$")[1].split(":")[1])
    assert verifier("pencil-and-paper", salt=salt) == stored


async def test_a_database_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(SinkUnavailable):
        await migrate(
            f"postgresql://127.0.0.1:{free_port()}/postgres", MASTER, role="r", password=PASSWORD, patience_s=0
        )


@contextlib.asynccontextmanager
async def another_server(folder: Path) -> AsyncIterator[int]:
    """A server that takes PostgreSQL's request for TLS, and shows a certificate for this machine."""
    subject = pki.Subject(file="server", user="postgres", names=("127.0.0.1",))
    pki.ensure(folder, now=datetime.datetime.now(datetime.UTC), subjects=(subject,))
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(folder / "server.crt", folder / "server.key")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # SSLRequest (PostgreSQL documentation, "Message Formats")
        writer.write(b"S")
        with contextlib.suppress(OSError):
            await writer.start_tls(shown)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_certificate_that_does_not_hold_is_said_at_once(tmp_path: Path) -> None:
    """RDS's certificates are part of the image, and a server of a newer authority is not known to an old image."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    pki.ensure(ours, now=datetime.datetime.now(datetime.UTC), subjects=(pki.Subject(file="any", user="any"),))
    async with another_server(theirs) as port:
        dsn = f"postgresql://127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={ours / 'ca.crt'}"
        with pytest.raises(SinkUnavailable, match="SSLCertVerificationError: "):
            await asyncio.wait_for(migrate(dsn, MASTER, role="r", password=PASSWORD, patience_s=3600), 60)
