"""`headrace audit`: verify a journal, and print the schema of its sink."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from headrace.audit.chain import GENESIS, Broken, Link, verify
from headrace.audit.ledger import Ledger
from headrace.audit.record import RecordError, parse
from headrace.audit.segments import Torn, read_links
from headrace.errors import refuse


@click.group()
def audit() -> None:
    """Verify journals."""


@audit.command("verify")
@click.argument("spool", type=click.Path(path_type=Path))
@click.option("--writer", required=True, help="Name of the replica that wrote it.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify_journal(spool: Path, *, writer: str, as_json: bool) -> None:
    """Check a router's journal from its beginning. Exit code 1 where it is broken, with the place."""
    if not spool.is_dir():
        raise refuse("SPOOL", str(spool), "there is no such folder", next_step="give the router's --spool folder")
    if (spool / "base.json").exists():
        raise refuse(
            "SPOOL",
            str(spool),
            "its beginning was drained to the sink",
            reason="a chain can be verified from its beginning only",
            next_step="verify it from Postgres: headrace audit verify-postgres",
        )
    torn: list[Torn] = []
    ledger = Ledger()
    result = verify(writer, _whole(spool, writer, torn, ledger))
    _report(result, torn, ledger, as_json=as_json)


def _whole(spool: Path, writer: str, torn: list[Torn], ledger: Ledger) -> Iterator[Link]:
    for item in read_links(spool, writer, previous=GENESIS):
        if isinstance(item, Torn):
            torn.append(item)
            return
        yield item
        try:
            ledger.apply(parse(item.record))
        except RecordError:
            return  # `verify` has said so already


def _report(result: object, torn: list[Torn], ledger: Ledger, *, as_json: bool) -> None:
    broken = isinstance(result, Broken)
    if as_json:
        spent = {f"{period} {scope}": balance.spent for (period, scope), balance in ledger.balances.items()}
        document = {
            "intact": not broken,
            "result": {
                key: value.hex() if isinstance(value, bytes) else value for key, value in _fields(result).items()
            },
            "tornBytes": sum(one.bytes for one in torn),
            "openReservations": len(ledger.open),
            "spentNano": spent,
        }
        click.echo(json.dumps(document, indent=2))
    elif isinstance(result, Broken):
        click.echo(
            f"broken at entry {result.position}: {result.what}, expected {result.expected}, found {result.found}",
            err=True,
        )
    else:
        size = _fields(result)["size"]
        click.echo(f"intact: {size} entries, {len(ledger.open)} open reservations, {ledger.repeated} repeated")
        for one in torn:
            click.echo(f"  the last {one.bytes} bytes are a torn entry that was never acknowledged")
    if broken:
        sys.exit(1)


def _fields(result: object) -> dict[str, object]:
    names = getattr(type(result), "__slots__", ())
    return {name: getattr(result, name) for name in names}


@audit.command("verify-postgres")
@click.option("--dsn", envvar="HEADRACE_POSTGRES_DSN", required=True, help="Or in HEADRACE_POSTGRES_DSN.")
@click.option("--writer", required=True, help="Name of the replica that wrote it.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify_postgres(*, dsn: str, writer: str, as_json: bool) -> None:
    """Check the same chain where it was drained to."""
    import asyncio

    from headrace.audit.sinks.base import SinkUnavailable
    from headrace.audit.sinks.postgres import read

    try:
        links = asyncio.run(read(dsn, writer))
    except SinkUnavailable as error:
        raise refuse("--dsn", None, f"the database does not answer ({error})", next_step="check it") from None
    ledger = Ledger()
    result = verify(writer, links)
    if not isinstance(result, Broken):
        for item in links:
            ledger.apply(parse(item.record))
    _report(result, [], ledger, as_json=as_json)


@audit.command("schema")
@click.option("--role", default="router", show_default=True, help="The router's role.")
def print_schema(*, role: str) -> None:
    """Print the SQL of the tables and of the role's rights."""
    from headrace.audit.sinks.postgres import grants, schema

    click.echo(schema())
    click.echo(grants(role))


@audit.command("waivers")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def waivers(file: Path | None, *, as_json: bool) -> None:
    """List the uses of waivers and check that the record is whole. Exit code 1 where it is not."""
    from headrace.audit import waiver_uses

    file = file or waiver_uses.path(Path.cwd())
    if not file.is_file():
        raise refuse("FILE", str(file), "there is no such record", next_step="name the file, or set HEADRACE_AUDIT_DIR")
    try:
        uses = [use for _, use in waiver_uses.read(file)]
        result = waiver_uses.verify(file)
    except RecordError as error:
        raise refuse("FILE", str(file), f"it can't be read: {error}", next_step="restore it from a copy") from None
    broken = isinstance(result, Broken)
    if as_json:
        click.echo(json.dumps({"intact": not broken, "uses": [vars(use) for use in uses]}, indent=2))
    else:
        for use in uses:
            what = f"{use.policy} on {use.resource.split('::')[-1]}"
            click.echo(f"{use.at} {use.run} {use.stack}: {what}, {use.approver} ({use.ticket}) until {use.expires}")
            click.echo(f"  pack {use.policy_version}, commit {use.commit}: {use.reason}")
    if isinstance(result, Broken):
        click.echo(f"broken at entry {result.position}: {result.what}", err=True)
        sys.exit(1)
    if not as_json:
        click.echo(f"intact: {result.size} uses, head {result.head.hex()}")


@audit.command("migrate")
@click.option("--dsn", envvar="HEADRACE_MIGRATE_DSN", required=True, help="Host and database, without a login.")
@click.option("--master-login", required=True, help="ARN of the secret that RDS keeps the master's login in.")
@click.option("--role", default="headrace_router", show_default=True, help="The router's role.")
def migrate_postgres(*, dsn: str, master_login: str, role: str) -> None:
    """Make tables and the router's role. Its password comes from HEADRACE_ROLE_PASSWORD."""
    import asyncio
    import os

    from headrace.audit.sinks.base import SinkUnavailable
    from headrace.audit.sinks.migrate import login_of, migrate

    password = os.environ.get("HEADRACE_ROLE_PASSWORD", "")
    if not password:
        raise refuse("HEADRACE_ROLE_PASSWORD", None, "it must be set", next_step="set it from a secret store")
    try:
        asyncio.run(migrate(dsn, login_of(master_login), role=role, password=password))
    except SinkUnavailable as error:
        raise refuse(
            "--dsn", None, f"the database refused or does not answer ({error})", next_step="check it"
        ) from None
    click.echo(f"tables and role {role} are there")
