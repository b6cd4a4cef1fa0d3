"""The processes of a replay: the router on a configuration as it was deployed, and stand-ins behind its addresses.

The configuration is passed on byte for byte. What differs on this machine is said in one file, `hosts.json`: which
local port plays which address of the deployment.
"""

from __future__ import annotations

import datetime
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from headrace_sandbox.kubernetes import pki
from headrace_sandbox.kubernetes.layout import write_private
from headrace_sandbox.kubernetes.probes import http_ok
from headrace_sandbox.model_servers import fleet
from headrace_sandbox.model_servers.behaviour import Behaviour
from headrace_sandbox.service import Kind, SandboxContext, Service
from headrace_sandbox.supervise_ports import LOOPBACK, write_json
from headrace_sandbox.traffic.clock import Clock

ROUTER: Final = "router"
MODEL_SERVERS: Final = "model-servers"
_PORTS: Final = {"https": 443, "http": 80}
_CERTIFICATE: Final = "model-servers"
_NAMES_AT_MOST: Final = 20


@dataclass(frozen=True, kw_only=True)
class RouterAt:
    """One replica of the router. `name` is the writer of its journal, as in the cluster the pod's."""

    name: str
    url: str
    admin_url: str


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the parts of a replay are: addresses on this machine, and the processes to start."""

    routers: tuple[RouterAt, ...]
    fleet_url: str
    hosts: Mapping[str, str]
    services: tuple[Service, ...]


def plan(
    context: SandboxContext,
    config: Mapping[str, Any],
    config_text: str,
    *,
    key_file: str,
    behaviours: Mapping[str, Behaviour],
    clock: Clock,
    environment: Mapping[str, str],
    replicas: int = 1,
) -> Site:
    """Lay out a replay of a router configuration: `config` is the document, `config_text` what it was read from.

    behaviours: how each pool's servers behave. environment: variables for the routers beside their own (DSN,
    credentials). Writes the files that the processes read; starts nothing.
    """
    folder = context.directory / "traffic"
    folder.mkdir(parents=True, exist_ok=True)
    pools, hosts = _places(context, config["pools"], behaviours)
    certificate, authority = _certificate(folder, sorted({name.rpartition(":")[0] for name in hosts}))
    admin = context.port(f"{MODEL_SERVERS} admin")
    write_json(
        folder / "fleet.json",
        fleet.to_json(
            fleet.Fleet(
                admin_port=admin,
                pools=tuple(pools),
                certificate=f"{certificate}.crt",
                key=f"{certificate}.key",
            )
        ),
    )
    write_json(folder / "hosts.json", dict(hosts))
    (folder / "router.json").write_text(config_text, encoding="utf-8")
    write_private(folder / "keys.json", key_file)
    servers = Service(
        name=MODEL_SERVERS,
        kind=Kind.STAND_IN,
        what=f"model servers of {', '.join(pool.name for pool in pools)}: slots, prefill, decode, cold starts; no GPU",
        argv=(sys.executable, "-m", "headrace_sandbox.model_servers", "--fleet", str(folder / "fleet.json")),
        ready=http_ok(admin, "/_sandbox/fleet"),
        # Beginning anew means new processes: what they did so far is counted from their start.
        env={**_credentials(config["pools"], environment), "HEADRACE_REPLAY": str(clock.epoch)},
    )
    own = {
        **environment,
        "HEADRACE_HASH_SECRET": _kept_secret(folder / "hash-secret"),
        "SSL_CERT_FILE": str(authority),
    }
    routers = [_router(context, folder, number, clock=clock, environment=own) for number in range(replicas)]
    return Site(
        routers=tuple(at for at, _ in routers),
        fleet_url=f"http://{LOOPBACK}:{admin}/_sandbox/fleet",
        hosts=hosts,
        services=(servers, *(service for _, service in routers)),
    )


def _router(
    context: SandboxContext, folder: Path, number: int, *, clock: Clock, environment: Mapping[str, str]
) -> tuple[RouterAt, Service]:
    """One replica, with a journal of its own as each pod has."""
    name = f"{ROUTER}-{number}"
    port, admin_port = context.port(name), context.port(f"{name} admin")
    at = RouterAt(name=name, url=f"http://{LOOPBACK}:{port}", admin_url=f"http://{LOOPBACK}:{admin_port}")
    service = Service(
        name=name,
        kind=Kind.REAL,
        what=f"a router on the deployed configuration; its clock runs {clock.speed:g} times as fast",
        argv=(
            *(sys.executable, "-m", "headrace_sandbox.traffic", "--speed", f"{clock.speed:g}"),
            *("--epoch", f"{clock.epoch:.3f}", "--hosts", str(folder / "hosts.json"), "--"),
            *("router", "serve", "--config", str(folder / "router.json"), "--keys", str(folder / "keys.json")),
            *("--spool", str(folder / "journals" / name), "--port", str(port), "--admin-port", str(admin_port)),
            *("--replica", name),
        ),
        ready=http_ok(admin_port, "/readyz"),
        env=environment,
        urls={name: at.url},
        after=(MODEL_SERVERS, "redis", "postgres"),
    )
    return at, service


def _places(
    context: SandboxContext, pools: Mapping[str, Any], behaviours: Mapping[str, Behaviour]
) -> tuple[list[fleet.Pool], dict[str, str]]:
    """A local port for each address that the configuration names."""
    found: list[fleet.Pool] = []
    hosts: dict[str, str] = {}
    for name, pool in pools.items():
        url = urlsplit(pool["url"])
        address = f"{url.hostname}:{url.port or _PORTS[url.scheme]}"
        port = context.port(f"{MODEL_SERVERS} {address}")
        hosts[address] = f"{LOOPBACK}:{port}"
        if pool.get("metricsUrl"):
            metrics = urlsplit(pool["metricsUrl"])
            hosts[f"{metrics.hostname}:{metrics.port or _PORTS[metrics.scheme]}"] = f"{LOOPBACK}:{port}"
        found.append(
            fleet.Pool(
                name=name,
                port=port,
                prefix=url.path.rstrip("/").removesuffix("/v1"),
                tls=url.scheme == "https",
                model=pool["servedModel"],
                key_env=pool.get("credentialEnv"),
                behaviour=behaviours[name],
            )
        )
    return found, hosts


def _certificate(folder: Path, names: list[str]) -> tuple[Path, Path]:
    """A certificate for the addresses that speak TLS, from an authority of the replay's own; its path, and the CA's."""
    home = folder / "pki"
    subject = pki.Subject(file=_CERTIFICATE, user=_CERTIFICATE, names=tuple(names[:_NAMES_AT_MOST]))
    pki.ensure(home, now=datetime.datetime.now(tz=datetime.UTC), subjects=[subject])
    return home / _CERTIFICATE, home / "ca.crt"


def _credentials(pools: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """What the pools' stand-ins ask for: the same variables that the router sends from."""
    wanted = {pool["credentialEnv"] for pool in pools.values() if pool.get("credentialEnv")}
    return {name: environment[name] for name in sorted(wanted) if name in environment}


def _kept_secret(file: Path) -> str:
    """A random secret, made once for a sandbox: hashes in the ledger stay comparable from replay to replay."""
    if not file.is_file():
        write_private(file, secrets.token_urlsafe(32))
    return file.read_text(encoding="utf-8")
