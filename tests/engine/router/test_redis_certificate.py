"""Redis over TLS with a certificate that nobody here trusts."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import ssl
from pathlib import Path

import pytest

from headrace.router.config import from_json
from headrace.router.engine import Engine
from headrace.router.lease_redis import RedisLeaser
from headrace_sandbox.kubernetes import pki
from tests.unit.router.worlds import document

pytestmark = pytest.mark.engine


async def test_the_log_says_that_it_is_the_certificate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    subject = pki.Subject(file="redis", user="redis", names=("127.0.0.1",))
    pki.ensure(tmp_path, now=datetime.datetime.now(datetime.UTC), subjects=(subject,))
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(tmp_path / "redis.crt", tmp_path / "redis.key")
    policy = from_json(json.dumps(document()).encode())
    engine = Engine(policy, clock=lambda: 0.0, period="2026-11", leases={}, accounts={})
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=shown) as server:
        port = server.sockets[0].getsockname()[1]
        leaser = RedisLeaser(f"rediss://:a-password@127.0.0.1:{port}/0", "router-0", engine)
        with caplog.at_level(logging.WARNING):
            await leaser.step()
        await leaser.close()
    (said,) = (record for record in caplog.records if record.name == "headrace.router.lease" and "Redis" in record.msg)
    assert "SSLCertVerificationError" in said.fields["reason"], said.fields  # type: ignore[attr-defined] # `extra`
    assert not any(engine.state.leases.values()), "nothing is given out that Redis didn't grant"
