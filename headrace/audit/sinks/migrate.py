"""Makes the ledger's tables and the router's role in Postgres, again and again without harm.

Only this needs the master's credential. The router itself works as a role that may insert and select, no more; the
hourly floor as one that sees no entry at all (`floor`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import ssl
from dataclasses import dataclass
from typing import Final

import asyncpg  # type: ignore[import-untyped] # asyncpg 0.32 ships no py.typed

from headrace.audit.sinks import floor
from headrace.audit.sinks.base import SinkUnavailable, identifier
from headrace.audit.sinks.postgres import grants, schema
from headrace.errors import refuse

_TIMEOUT_S: Final = 15.0
_PATIENCE_S: Final = 240.0
_PAUSE_S: Final = 5.0
_UNREACHABLE: Final = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)
_ITERATIONS: Final = 4096  # PostgreSQL's own default, scram_iterations; the password is 48 random bytes
_LOCK: Final = 7_231_904_115_628_844
"""Two migrations wait for each other on this advisory lock; any number of ours would do."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who makes the tables. The password is in no message."""

    user: str
    password: str


def login_of(secret_arn: str) -> Login:
    """The master's login, as RDS keeps it in Secrets Manager; region and endpoint come from ARN and environment."""
    import boto3  # seconds of import that only a migration on AWS pays
    from botocore.exceptions import BotoCoreError, ClientError

    parts = secret_arn.split(":")
    if len(parts) < 7 or parts[2] != "secretsmanager":
        raise refuse("--master-login", secret_arn, "it must be the ARN of a secret", next_step="copy it from RDS")
    try:
        text = boto3.client("secretsmanager", region_name=parts[3]).get_secret_value(SecretId=secret_arn)[
            "SecretString"
        ]
        document = json.loads(text)
        return Login(user=str(document["username"]), password=str(document["password"]))
    except (ClientError, BotoCoreError) as error:
        raise refuse(
            "--master-login",
            secret_arn,
            f"can't be read ({type(error).__name__})",
            next_step="let whoever runs this read the secret and use its key",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise refuse(
            "--master-login", secret_arn, "it holds no username and password", next_step="name the database's own"
        ) from None


def verifier(password: str, *, salt: bytes | None = None) -> str:
    """A password as PostgreSQL stores it (RFC 5802, SCRAM-SHA-256). Sent in its place, so that the password is in no
    statement and so in no log of the server."""
    salt = salt if salt is not None else secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{text[0]}${text[1]}:{text[2]}"


def statements(role: str, password: str) -> tuple[str, ...]:
    """What is run, in order. The password is set each time, so a new one takes hold with the next run."""
    return (schema(), *_role(role, password), grants(role))


def floor_statements(role: str, password: str) -> tuple[str, ...]:
    """The same for the hourly floor; they come after the ledger's."""
    return (floor.schema(), *_role(role, password), floor.grants(role))


def _role(role: str, password: str) -> tuple[str, str]:
    name = identifier(role)
    text = "'" + role.replace("'", "''") + "'"
    make = (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {text}) "
        f"THEN CREATE ROLE {name} LOGIN; END IF; END $$"
    )
    return make, f"ALTER ROLE {name} WITH LOGIN PASSWORD '{verifier(password)}'"


async def migrate(
    dsn: str,
    login: Login,
    *,
    role: str,
    password: str,
    floor_role: tuple[str, str] | None = None,
    patience_s: float = _PATIENCE_S,
) -> None:
    """Makes what is missing; `floor_role` is the name and password of the hourly floor's role where there is one. A
    database that does not answer yet is waited for; then `SinkUnavailable`."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            connection = await asyncpg.connect(
                dsn, user=login.user, password=login.password, timeout=_TIMEOUT_S, command_timeout=_TIMEOUT_S
            )
            break
        except ssl.SSLCertVerificationError as error:
            # No patience helps: the server is another one, or the certificates that it is checked by are old.
            raise SinkUnavailable(f"{type(error).__name__}: {error.verify_message}") from None
        except _UNREACHABLE as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise SinkUnavailable(type(error).__name__) from None
            await asyncio.sleep(min(_PAUSE_S, patience_s))
        except asyncpg.PostgresError as error:
            raise SinkUnavailable(type(error).__name__) from None
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            for statement in (*statements(role, password), *(floor_statements(*floor_role) if floor_role else ())):
                await connection.execute(statement)
    except asyncpg.PostgresError as error:
        # Its text could quote the statement, and one of them holds a password.
        raise SinkUnavailable(f"{type(error).__name__} {error.sqlstate}") from None
    finally:
        await connection.close()
