"""`headrace router`: serve, check and explain; make keys."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import click

from headrace.cli.router_litellm import litellm
from headrace.cli.router_waste import waste
from headrace.errors import refuse
from headrace.router.config import RouterConfig, to_json
from headrace.router.types import RequestFacts
from headrace.settings.releases import WorkloadClass

_CONFIG = click.option(
    "--config", required=True, type=click.Path(path_type=Path), help="Router configuration (JSON, from `render`)."
)
_KEYS = click.option("--keys", required=True, type=click.Path(path_type=Path), help="Key file (hashes of API keys).")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group()
def router() -> None:
    """Serve, check and explain the router."""


router.add_command(litellm)
router.add_command(waste)


@router.command("serve")
@_CONFIG
@_KEYS
@click.option("--spool", required=True, type=click.Path(path_type=Path), help="Folder of this replica's journal.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port of the API.")
@click.option("--admin-port", default=8081, show_default=True, help="Port of health and metrics.")
@click.option("--replica", default="router-0", show_default=True, help="Name of this replica, stable over restarts.")
def serve(*, config: Path, keys: Path, spool: Path, host: str, port: int, admin_port: int, replica: str) -> None:
    """Run one replica until SIGTERM. SIGHUP or a changed file reloads configuration and keys.

    From the environment: HEADRACE_HASH_SECRET (16 characters or more), HEADRACE_REDIS_URL (for several replicas),
    HEADRACE_POSTGRES_DSN (sink of the journal), HEADRACE_AUDIT_BUCKET (checkpoints), HEADRACE_ALERT_WEBHOOK (told when
    a budget passes a threshold), OTEL_EXPORTER_OTLP_ENDPOINT (traces), and what pools name as their credential.
    """
    import uvloop

    from headrace.router.options import Options, from_environment
    from headrace.router.serve import Router
    from headrace.router.telemetry import log_to_stderr

    log_to_stderr()
    options = Options(
        config=config,
        keys=keys,
        spool=spool,
        host=host,
        port=port,
        admin_port=admin_port,
        replica=replica,
        **from_environment(),
    )
    dsn = os.environ.get("HEADRACE_POSTGRES_DSN")

    async def run() -> None:
        sink = None
        if dsn:
            from headrace.audit.sinks.postgres import PostgresSink

            sink = PostgresSink(dsn)
        await Router(options, sink=sink).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@router.command("check")
@_CONFIG
@click.option("--keys", type=click.Path(path_type=Path), help="Key file to check against the configuration.")
@_JSON
def check(*, config: Path, keys: Path | None, as_json: bool) -> None:
    """Say whether a configuration can be served and which pools each workload may use. Exit code 2 where it can't."""
    from headrace.router.keys import load_keys
    from headrace.router.options import read_config

    policy = read_config(config)
    count = len(load_keys(keys.read_bytes(), policy)) if keys is not None else None
    routes = {name: _pools_of(policy, name) for name in policy.workloads}
    if as_json:
        click.echo(
            json.dumps({"valid": True, "policyVersion": policy.policy_version, "keys": count, "workloads": routes})
        )
        return
    click.echo(f"{config}: valid, {policy.policy_version}")
    for name, pools in routes.items():
        for pool, why in pools.items():
            click.echo(f"  {name} -> {pool}: {why}")
        if not pools:
            click.echo(f"  {name}: no pool is deployed for it")


def _pools_of(policy: RouterConfig, workload: str) -> dict[str, str]:
    """Pool -> `ok`, or why it is never taken."""
    from headrace.router.decide import decide
    from headrace.router.lease import fixed
    from headrace.router.observe import initial
    from headrace.router.types import GROUND_TEXT, Route

    facts = _facts(policy, workload, prompt_tokens=1, max_tokens=1)
    state = initial(policy, now=0.0, period="", leases=fixed(policy), accounts={})
    found = {}
    for name, _ in policy.candidates[workload]:
        others = frozenset(policy.pools) - {name}
        decision = decide(_excluding(facts, others), state, policy)
        ground = dict(decision.removed).get(name)
        found[name] = "ok" if isinstance(decision, Route) or ground is None else GROUND_TEXT[ground]
    return found


def _excluding(facts: RequestFacts, pools: frozenset[str]) -> RequestFacts:
    from dataclasses import replace

    return replace(facts, excluded=pools)


def _facts(policy: RouterConfig, workload: str, *, prompt_tokens: int, max_tokens: int | None) -> RequestFacts:
    from headrace.router.decide import release_of

    if workload not in policy.workloads:
        raise refuse("--workload", workload, "there is no such workload", next_step="name one of the configuration")
    tenant = next(iter(policy.tenants), "-")
    project = next(iter(policy.tenants[tenant].projects), "-") if tenant in policy.tenants else "-"
    return RequestFacts(
        id="explain",
        tenant=tenant,
        project=project,
        environment=policy.environment,
        workload=workload,
        workload_class=policy.workloads[workload].workload_class,
        release=release_of(policy.workloads[workload], 99.99),
        prompt_tokens=prompt_tokens,
        prompt_tokens_bound=prompt_tokens * 4,
        max_tokens=max_tokens,
        bucket=99.99,
    )


@router.command("explain")
@_CONFIG
@click.option("--workload", required=True, help="Workload of the request.")
@click.option("--class", "workload_class", type=click.Choice([c.value for c in WorkloadClass]), help="Declared class.")
@click.option("--prompt-tokens", default=500, show_default=True, help="Tokens of the prompt.")
@click.option("--max-tokens", type=int, help="Declared length of the answer.")
@click.option("--in-flight", multiple=True, metavar="POOL=N", help="Requests in flight; may be repeated.")
@_JSON
def explain(
    *,
    config: Path,
    workload: str,
    workload_class: str | None,
    prompt_tokens: int,
    max_tokens: int | None,
    in_flight: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say in one line where a request would go, and why not elsewhere."""
    from dataclasses import replace

    from headrace.router.decide import decide
    from headrace.router.lease import fixed
    from headrace.router.observe import initial
    from headrace.router.options import read_config
    from headrace.router.types import Phase
    from headrace.router.types import explain as in_words

    policy = read_config(config)
    facts = _facts(policy, workload, prompt_tokens=prompt_tokens, max_tokens=max_tokens)
    if workload_class is not None:
        facts = replace(facts, workload_class=WorkloadClass(workload_class))
    state = initial(policy, now=0.0, period="", leases=fixed(policy), accounts={})
    pools = dict(state.pools)
    for item in in_flight:
        name, _, number = item.partition("=")
        if name not in pools or not number.isdigit():
            raise refuse("--in-flight", item, "must be POOL=N", next_step=f"use one of {', '.join(pools)}")
        slots = policy.pools[name].slots
        busy = policy.pools[name].dedicated and int(number) >= slots * policy.spill.start_at
        pools[name] = replace(pools[name], in_flight=int(number), phase=Phase.SPILLING if busy else pools[name].phase)
    decision = decide(facts, replace(state, pools=pools), policy)
    line = in_words(facts, decision)
    if as_json:
        removed = [{"pool": pool, "ground": ground.value} for pool, ground in decision.removed]
        kind = type(decision).__name__.lower()
        pool = getattr(decision, "pool", None)
        click.echo(json.dumps({"decision": kind, "pool": pool, "removed": removed, "explanation": line}))
    else:
        click.echo(line)


@router.command("render")
@click.option("--stack-file", required=True, type=click.Path(path_type=Path), help="stacks/Pulumi.<env>.yaml")
@click.option("--deployed", required=True, type=click.Path(path_type=Path), help='JSON: {"pool": {"url": …}}')
@click.option("--prices", type=click.Path(path_type=Path), help="Your own price file, laid over the catalogue.")
@click.option("--date", "day", help="Day of the prices (YYYY-MM-DD); today where unset.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead.")
def render(*, stack_file: Path, deployed: Path, prices: Path | None, day: str | None, out: Path | None) -> None:
    """Make the router's configuration from a stack file and the addresses of its pools."""
    from headrace.catalog.price import price_book
    from headrace.router.render import Deployed
    from headrace.router.render import render as rendered
    from headrace.settings.load import from_stack_file

    try:
        document = json.loads(deployed.read_text(encoding="utf-8"))
        found = {name: Deployed(**fields) for name, fields in document.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise refuse(
            "--deployed", str(deployed), f"can't be used ({error})", next_step='write {"pool": {"url": "http://…/v1"}}'
        ) from None
    try:
        on = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).date() if day else datetime.now(tz=UTC).date()
    except ValueError:
        raise refuse("--date", day, "must be a day", next_step="write it like 2026-11-21") from None
    config = rendered(from_stack_file(stack_file), found, prices=price_book(prices), day=on)
    if out is None:
        click.echo(to_json(config), nl=False)
    else:
        out.write_text(to_json(config), encoding="utf-8")
        click.echo(f"wrote {out} ({config.policy_version})")


@router.command("key")
@click.option(
    "--keys", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Key file; made if absent."
)
@click.option("--id", "identifier", required=True, help="Name of the key in records.")
@click.option("--tenant", required=True, help="Its tenant.")
@click.option("--project", required=True, help="Its project.")
def key(*, keys: Path, identifier: str, tenant: str, project: str) -> None:
    """Make an API key: prints it once, and adds its hash to the key file."""
    from headrace.router.keys import KeyEntry, KeyFile, digest

    try:
        known = KeyFile.model_validate_json(keys.read_bytes()) if keys.exists() else KeyFile(version=1, keys=())
        made = f"hr_{identifier}_{secrets.token_urlsafe(32)}"
        entry = KeyEntry(id=identifier, sha256=digest(made), tenant=tenant, project=project)
    except (OSError, ValueError) as error:
        raise refuse("--keys", str(keys), f"can't be used ({error})", next_step="see docs/router/keys.md") from None
    if any(old.id == identifier for old in known.keys):
        raise refuse("--id", identifier, "a key of this name exists", next_step="choose another name")
    file = KeyFile(version=1, keys=(*known.keys, entry))
    partial = keys.with_name(f".{keys.name}")
    partial.write_text(file.model_dump_json(by_alias=True, exclude_defaults=False, indent=2) + "\n", encoding="utf-8")
    partial.chmod(0o600)
    partial.replace(keys)
    click.echo(made)
