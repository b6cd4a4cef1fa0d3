"""`headrace audit`: verify and export a journal, and print the schema of its sink."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from headrace.audit.chain import GENESIS, Broken, Checkpoint, Link, verify
from headrace.audit.ledger import Ledger
from headrace.audit.record import RecordError, parse
from headrace.audit.segments import Damaged, Torn, read_links
from headrace.errors import refuse


@click.group()
def audit() -> None:
    """Verify journals."""


_CHECKPOINTS = click.option(
    "--checkpoints", metavar="LOCATION", help="s3://BUCKET or a folder: the chain must agree with each of them."
)


@audit.command("verify")
@click.argument("journal", metavar="SPOOL|FILE", type=click.Path(path_type=Path))
@click.option("--writer", required=True, help="Name of the replica that wrote it.")
@_CHECKPOINTS
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify_journal(journal: Path, *, writer: str, checkpoints: str | None, as_json: bool) -> None:
    """Check a journal, or an export of one, from its beginning. Exit code 1 where it is broken, with the place.

    Without checkpoints an export is held against the file beside it only.
    """
    known = _checkpoints(checkpoints, writer)
    torn: list[Torn] = []
    ledger = Ledger()
    if journal.is_file():
        from headrace.audit import lines

        end = lines.read_head(journal)
        links = _folded(lines.read(journal, writer), ledger)
        _report(verify(writer, links, [*known, *([end] if end else [])]), torn, ledger, as_json=as_json)
        return
    _readable(journal)
    _report(verify(writer, _whole(journal, writer, torn, ledger), known), torn, ledger, as_json=as_json)


def _readable(spool: Path) -> None:
    if not spool.is_dir():
        raise refuse("SPOOL", str(spool), "there is no such folder", next_step="give the router's --spool folder")
    if (spool / "base.json").exists():
        raise refuse(
            "SPOOL",
            str(spool),
            "its beginning was drained to the sink",
            reason="a chain is whole from its beginning only",
            next_step="take it from Postgres: verify-postgres, or export --dsn",
        )


def _checkpoints(location: str | None, writer: str) -> list[Checkpoint]:
    """Genuine checkpoints of a writer. Refused where the place or the secret is missing, or one was forged."""
    if location is None:
        return []
    from headrace.audit import checkpoints
    from headrace.router.options import hash_secret

    key = checkpoints.key_of(hash_secret())
    bucket = location.removeprefix("s3://").strip("/")
    store: checkpoints.Store
    if location.startswith("s3://"):
        store = checkpoints.BucketStore(bucket)
    elif Path(location).is_dir():
        store = checkpoints.FolderStore(Path(location))
    else:
        raise refuse("--checkpoints", location, "there is no such folder", next_step="give s3://BUCKET or a folder")
    try:
        found = checkpoints.read(store, writer, key)
    except OSError as error:
        raise refuse("--checkpoints", location, f"they can't be read ({error})", next_step="check access") from None
    except checkpoints.CheckpointError as error:
        raise refuse(
            "--checkpoints",
            location,
            str(error),
            reason="a forged checkpoint is evidence too",
            next_step="keep it, check HEADRACE_HASH_SECRET, and ask who can write there",
        ) from None
    if not found:
        raise refuse(
            "--checkpoints", location, f"there is none of {writer}", next_step="check the writer's name and the place"
        )
    return found


def _folded(links: Iterable[Link], ledger: Ledger) -> Iterator[Link]:
    """The same links; their entries are added up on the way, as far as they are entries."""
    for item in links:
        yield item
        try:
            ledger.apply(parse(item.record))
        except RecordError:
            return  # `verify` has said so already


@audit.command("export")
@click.argument("spool", type=click.Path(path_type=Path), required=False)
@click.option("--dsn", envvar="HEADRACE_POSTGRES_DSN", help="Take the chain from Postgres. Or HEADRACE_POSTGRES_DSN.")
@click.option("--writer", required=True, help="Name of the replica that wrote it.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File of JSON lines.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def export(*, spool: Path | None, dsn: str | None, writer: str, out: Path, as_json: bool) -> None:
    """Write a chain as JSON lines, one entry a line, verified on the way. `headrace audit verify FILE` checks it again.

    The end of the chain goes to FILE.head.json. Exit code 1 where the chain is broken; then there is no file.
    """
    from headrace.audit import lines

    torn: list[Torn] = []
    if spool is not None:
        _readable(spool)
        links: list[Link] = list(_whole(spool, writer, torn, Ledger()))
    elif dsn is not None:
        links = _from_postgres(dsn, writer)
    else:
        raise refuse("SPOOL", None, "nothing to export was named", next_step="give a spool folder or --dsn")
    result = verify(writer, links)
    if isinstance(result, Broken):
        _report(result, torn, Ledger(), as_json=as_json)
        return
    partial = out.with_name(f".{out.name}.partial")
    with partial.open("wb") as file:
        end = lines.write(links, file)
    partial.replace(out)
    if end is not None:
        lines.write_head(out, end)
    if as_json:
        click.echo(json.dumps({"file": str(out), "entries": result.size, "head": result.head.hex()}))
    else:
        click.echo(f"wrote {out}: {result.size} entries, head {result.head.hex()}")


def _from_postgres(dsn: str, writer: str) -> list[Link]:
    import asyncio

    from headrace.audit.sinks.base import SinkUnavailable
    from headrace.audit.sinks.postgres import read

    try:
        return asyncio.run(read(dsn, writer))
    except SinkUnavailable as error:
        raise refuse("--dsn", None, f"the database does not answer ({error})", next_step="check it") from None


def _whole(spool: Path, writer: str, torn: list[Torn], ledger: Ledger) -> Iterator[Link]:
    def links() -> Iterator[Link]:
        for item in read_links(spool, writer, previous=GENESIS):
            if isinstance(item, Damaged):
                continue  # `verify` says which entry is missing
            if isinstance(item, Torn):
                torn.append(item)
                return
            yield item

    return _folded(links(), ledger)


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
@_CHECKPOINTS
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def verify_postgres(*, dsn: str, writer: str, checkpoints: str | None, as_json: bool) -> None:
    """Check the same chain where it was drained to."""
    known = _checkpoints(checkpoints, writer)
    ledger = Ledger()
    result = verify(writer, _folded(_from_postgres(dsn, writer), ledger), known)
    _report(result, [], ledger, as_json=as_json)


@audit.command("schema")
@click.option("--role", default="router", show_default=True, help="The router's role.")
@click.option("--floor-role", help="Role of the hourly floor, where there is one.")
def print_schema(*, role: str, floor_role: str | None) -> None:
    """Print the SQL of the tables and of the role's rights."""
    from headrace.audit.sinks import floor
    from headrace.audit.sinks.postgres import grants, schema

    click.echo(schema())
    click.echo(grants(role))
    if floor_role:
        click.echo(floor.schema())
        click.echo(floor.grants(floor_role))


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
@click.option("--floor-role", help="Role of the hourly floor; its password in HEADRACE_FLOOR_PASSWORD.")
def migrate_postgres(*, dsn: str, master_login: str, role: str, floor_role: str | None) -> None:
    """Make tables and the router's role. Its password comes from HEADRACE_ROLE_PASSWORD."""
    import asyncio
    import os

    from headrace.audit.sinks.base import SinkUnavailable
    from headrace.audit.sinks.migrate import login_of, migrate

    def password(variable: str) -> str:
        if not os.environ.get(variable):
            raise refuse(variable, None, "it must be set", next_step="set it from a secret store")
        return os.environ[variable]

    mine = password("HEADRACE_ROLE_PASSWORD")
    others = (floor_role, password("HEADRACE_FLOOR_PASSWORD")) if floor_role else None
    try:
        asyncio.run(migrate(dsn, login_of(master_login), role=role, password=mine, floor_role=others))
    except SinkUnavailable as error:
        raise refuse(
            "--dsn", None, f"the database refused or does not answer ({error})", next_step="check it"
        ) from None
    click.echo(f"tables and role {role} are there" + (f", and {floor_role}" if floor_role else ""))
