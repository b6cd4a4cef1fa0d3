"""What settings and the catalogue decide about the router before anything is created: pure.

Its configuration is `headrace.router.render.render` over the addresses of the deployed pools; nothing about a pool is
written a second time here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from headrace.catalog.price import PriceBook, price_book
from headrace.errors import refuse
from headrace.router.config import from_json, to_json
from headrace.router.keys import KeyEntry, KeyFile
from headrace.router.render import Deployed, render
from headrace.rules.facts import RouterFacts
from headrace.settings.network import Egress
from headrace.settings.router import RouterSettings
from headrace.settings.serverless import ServerlessProvider
from headrace.settings.tree import Settings, Stage
from headrace_components import layout
from headrace_components.images import require_digest
from headrace_components.place import Place

# Headers that let a request in, by vendor: what `ServerlessEndpoint.request_headers` holds.
REQUEST_HEADERS: Final[Mapping[ServerlessProvider, tuple[str, ...]]] = {
    ServerlessProvider.RUNPOD: ("Authorization",),
    ServerlessProvider.MODAL: ("Modal-Key", "Modal-Secret"),
}
# CPU that one replica asks for: it is one process with one event loop.
REPLICA_CPUS: Final = 1
# What a node keeps for the system's own pods (CNI, kube-proxy, volume driver, Pod Identity), rounded up.
SYSTEM_CPUS: Final = 1
# Stages whose journals go with the stack; elsewhere their volumes outlive it, since they are the truth for money.
_PASSING: Final = frozenset({Stage.SANDBOX.value, Stage.DEVELOPMENT.value})
# Most that the values of one ConfigMap or Secret may have together (Kubernetes: configuration/configmap, "cannot exceed
# 1 MiB", and concepts/configuration/secret, 2026-11-22).
OBJECT_BYTES: Final = 1024 * 1024
# Longer than any vendor's address of an endpoint: for measuring a configuration before there is one.
_LONG_URL: Final = f"https://{'x' * 200}"


@dataclass(frozen=True, kw_only=True)
class RouterPlan:
    """A router, decided. `store_cidrs` are where the data stores lie, `client_cidrs` whom the load balancer serves."""

    settings: Settings
    image: str
    zones: tuple[str, ...]
    nodes: int
    day: date
    router_cidrs: tuple[str, ...]
    store_cidrs: tuple[str, ...]
    client_cidrs: tuple[str, ...]
    facts: RouterFacts

    @property
    def router(self) -> RouterSettings:
        """The router's own part of the settings."""
        return self.settings.router

    @property
    def keeps_journals(self) -> bool:
        """Whether the journals' volumes outlive the stack."""
        return self.facts.journal_outlives_stack

    @property
    def serverless(self) -> bool:
        """Whether anything can be spilled to."""
        return bool(self.settings.serverless_pools)


def plan_router(name: str, place: Place, settings: Settings, zones: Sequence[str]) -> RouterPlan:
    """The plan. Refuses an image that a tag could move, a day on which a price is missing, and more tenants or keys
    than a cluster can hold for it."""
    router = settings.router
    image = require_digest(router.image or "", "router.image")
    day = router.price_date or newest_day(price_book())
    nodes = node_count(router, len(zones))
    routers, stores = ranges(settings)
    clients = (*routers, *(str(one) for one in settings.network.peered_cidrs))
    plan = RouterPlan(
        settings=settings,
        image=image,
        zones=tuple(zones),
        nodes=nodes,
        day=day,
        router_cidrs=routers,
        store_cidrs=stores,
        client_cidrs=clients,
        facts=router_facts(name, place, settings, image, tuple(zones), nodes, day),
    )
    refuse_too_large(plan)
    return plan


def refuse_too_large(plan: RouterPlan) -> None:
    """Refuses what no ConfigMap or Secret can hold: known at preview, where the cluster would say so half-way through
    an update. Addresses that only the deployment knows are taken for long ones."""
    settings = plan.settings
    urls = dict.fromkeys(settings.dedicated_pools, _LONG_URL)
    text = configuration(plan, urls, {}, dict.fromkeys(settings.serverless_pools, _LONG_URL))
    projects = sum(len(one.projects) for one in settings.tenants.values())
    for path, what, size in (
        ("tenants", f"{len(settings.tenants)} tenants with {projects} projects", len(text.encode())),
        ("router.apiKeys", f"{len(settings.router.api_keys)} keys", len(key_file(settings.router).encode())),
    ):
        if size > OBJECT_BYTES:
            raise refuse(
                path,
                what,
                f"they make {size:,} bytes of the router's configuration, and {OBJECT_BYTES:,} is the most",
                reason="Kubernetes keeps it in one object, which can't be larger",
                next_step="divide them over several environments",
            )


def newest_day(book: PriceBook) -> date:
    """The last day on which a price of the catalogue changed: a day that only a new catalogue moves, where today's
    date would be another configuration every morning."""
    return max(row.valid_from for row in (*book.rows, *book.machines))


def node_count(router: RouterSettings, zones: int) -> int:
    """Machines that hold the most replicas, at least one per zone."""
    per_node = max(1, (vcpus(router.instance_type) - SYSTEM_CPUS) // REPLICA_CPUS)
    return max(zones, math.ceil(router.max_replicas / per_node))


def vcpus(instance_type: str) -> int:
    """vCPUs by the size in an EC2 type's name: 2 for large, 4 for xlarge, 4n for n-xlarge (all current general-purpose
    families; docs.aws.amazon.com/ec2/latest/instancetypes/gp.html, 2026-11-22)."""
    size = instance_type.partition(".")[2].removesuffix("large")
    return 2 if not size else 4 * int(size.removesuffix("x") or 1)


def ranges(settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where the router runs and where the data stores lie; of an adopted network only its whole range is known."""
    network = settings.network
    if network.adopt is not None:
        return (network.cidr,), (network.cidr,)
    zones = layout.lay_out(network.cidr, tuple(network.zones))
    return tuple(zone.router for zone in zones), tuple(zone.intra for zone in zones)


def variable(pool: str, header: str) -> str:
    """The environment variable that holds a header of a pool."""
    return f"UPSTREAM_{pool}_{header}".upper().replace("-", "_")


def credential_variables(settings: Settings, pool: str) -> dict[str, str]:
    """Header -> environment variable of a serverless pool."""
    return {header: variable(pool, header) for header in REQUEST_HEADERS[settings.serverless_pools[pool].provider]}


def deployed_pools(
    settings: Settings, dedicated: Mapping[str, str], metrics: Mapping[str, str], serverless: Mapping[str, str]
) -> dict[str, Deployed]:
    """What the renderer takes, from the addresses that pools put out: model servers' without, endpoints' with `/v1`."""
    found = {
        pool: Deployed(url=f"{url.rstrip('/')}/v1", metrics_url=metrics.get(pool, f"{url.rstrip('/')}/metrics"))
        for pool, url in dedicated.items()
    }
    return found | {
        pool: Deployed(url=url.rstrip("/"), credential_headers=credential_variables(settings, pool))
        for pool, url in serverless.items()
    }


def configuration(
    plan: RouterPlan, dedicated: Mapping[str, str], metrics: Mapping[str, str], serverless: Mapping[str, str]
) -> str:
    """The router's configuration as JSON."""
    pools = deployed_pools(plan.settings, dedicated, metrics, serverless)
    return to_json(render(plan.settings, pools, prices=price_book(), day=plan.day))


def policy_version(text: str) -> str:
    """Digest of a configuration, as every record names it."""
    return from_json(text, where="router configuration").policy_version


def key_file(router: RouterSettings) -> str:
    """The file of key hashes."""
    entries = tuple(
        KeyEntry(
            id=name,
            sha256=key.sha256,
            tenant=key.tenant,
            project=key.project,
            workloads=frozenset(key.workloads) or None,
            feature=key.feature,
            disabled=key.disabled,
        )
        for name, key in sorted(router.api_keys.items())
    )
    document = KeyFile(version=1, keys=entries).model_dump(mode="json", by_alias=True)
    for entry in document["keys"]:
        if entry["workloads"] is not None:
            entry["workloads"] = sorted(entry["workloads"])
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def checksum(*parts: str) -> str:
    """What a pod template carries, so that other content is another template."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def environment_of(headers: Mapping[str, Mapping[str, str]], given: Mapping[str, str | None]) -> dict[str, str]:
    """Environment of the process, most of it secret: what of `given` is set, and each serverless pool's headers."""
    found = {name: value for name, value in given.items() if value}
    for pool, pairs in headers.items():
        found |= {variable(pool, header): value for header, value in pairs.items()}
    return found


def migration_environment(postgres_dsn: str, floor_dsn: str | None = None) -> dict[str, str]:
    """What the migration gets of the router's DSN and the hourly floor's: the address without a login, and the
    passwords that their roles get."""
    parts = urlsplit(postgres_dsn)
    address = parts._replace(netloc=f"{parts.hostname}:{parts.port}").geturl()
    found = {"HEADRACE_MIGRATE_DSN": address, "HEADRACE_ROLE_PASSWORD": parts.password or ""}
    if floor_dsn:
        found["HEADRACE_FLOOR_PASSWORD"] = urlsplit(floor_dsn).password or ""
    return found


def router_facts(
    name: str,
    place: Place,
    settings: Settings,
    image: str,
    zones: tuple[str, ...],
    nodes: int,
    day: date,
) -> RouterFacts:
    """What the router is, as settings and catalogue say it."""
    router = settings.router
    pools = (*sorted(settings.dedicated_pools), *sorted(settings.serverless_pools))
    open_egress = bool(settings.serverless_pools)
    return RouterFacts(
        **place.facts(),
        name=name,
        engine=router.engine.value,
        image=image,
        min_replicas=router.min_replicas,
        max_replicas=router.max_replicas,
        zones=zones,
        nodes=nodes,
        instance_type=router.instance_type,
        disruption_budget=True,
        spread_over_zones=True,
        autoscaled=router.max_replicas > router.min_replicas,
        runs_as_root=False,
        read_only_root=True,
        load_balancer_internal=True,
        load_balancer_tls=router.certificate_arn is not None,
        network_default_deny=True,
        egress_to=(
            *pools,
            "data-stores",
            *(("serverless-ingress",) if open_egress else ()),
            *(("monitoring",) if router.traces_stay_inside else ()),
        ),
        egress_to_internet=open_egress and settings.network.egress is Egress.NAT_PER_ZONE,
        journal_durable=True,
        journal_encrypted=True,
        journal_outlives_stack=place.stage not in _PASSING,
        drain_timeout_s=router.drain_timeout_s,
        pools=pools,
        prices_of=day.isoformat(),
        api_keys=len(router.api_keys),
    )
