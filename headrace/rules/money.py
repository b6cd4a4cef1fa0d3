"""What a stack has promised and what it will cost: arithmetic on settings, facts and the price catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from headrace.rules import tables
from headrace.rules.rule import View

if TYPE_CHECKING:
    from headrace.settings.tree import Settings

DAYS_PER_MONTH = 365 / 12


@dataclass(frozen=True, kw_only=True)
class Promise:
    """Money promised ahead. `until` is None for what ends with a change of settings; `months` is the whole term."""

    where: str
    usd_per_month: float
    months: int
    until: date | None

    def exit_usd(self, today: date) -> float:
        """What is still owed on `today` if it were no longer needed."""
        if self.until is None or self.until <= today:
            return 0.0
        return self.usd_per_month * (self.until - today).days / DAYS_PER_MONTH


def promises(settings: Settings) -> Iterator[Promise]:
    """Commitments with a term: savings plans and contracts."""
    for name, plan in settings.commitments.savings_plans.items():
        months = 12 * plan.term_years
        yield Promise(
            where=f"settings:commitments.savingsPlans.{name}",
            usd_per_month=plan.commitment_usd_per_hour * tables.HOURS_PER_MONTH,
            months=months,
            until=_years_later(plan.starts_on, plan.term_years),
        )
    for name, contract in settings.commitments.contracts.items():
        yield Promise(
            where=f"settings:commitments.contracts.{name}",
            usd_per_month=contract.minimum_usd_per_month,
            months=max(1, round((contract.ends_on - contract.starts_on).days / DAYS_PER_MONTH)),
            until=contract.ends_on,
        )


def in_force(settings: Settings, today: date) -> tuple[Promise, ...]:
    """Commitments that are still owed."""
    return tuple(one for one in promises(settings) if one.until is None or one.until > today)


def _years_later(start: date, years: int) -> date:
    try:
        return start.replace(year=start.year + years)
    except ValueError:  # 29 February
        return start.replace(year=start.year + years, day=28)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the monthly cost, in US dollars: at the floor, and with everything at its ceiling. `note` says what a
    number rests on. `follows`: a floor that follows its traffic goes to its ceiling without anybody's decision."""

    name: str
    low: float
    high: float
    note: str = ""
    follows: bool = False

    @property
    def counted(self) -> float:
        """What a budget must hold: the ceiling where the floor follows its traffic, else the floor."""
        return self.high if self.follows else self.low


class PriceMissing(Exception):
    """The catalogue has no price for something that costs money; the message names it."""


def floor_usd_per_hour(settings: Settings, today: date) -> float:
    """List price of the dedicated floor. Raises `PriceMissing`."""
    return sum(
        pool.floor_nodes * node_price(name, pool.instance_type, settings.region, today)
        for name, pool in settings.dedicated_pools.items()
    )


def node_price(pool: str, instance_type: str, region: str, today: date) -> float:
    """List price of a machine of a pool. Raises `PriceMissing`."""
    price = tables.node_usd_per_hour(instance_type, region, today)
    if price is None:
        raise PriceMissing(f"price of {instance_type} (dedicatedPools.{pool})")
    return price


def doubts(view: View) -> tuple[str, ...]:
    """Why the prices of dedicated pools may be wrong: of another region, or not looked at for too long."""
    settings = view.settings
    if settings is None:
        return ()
    found = []
    for instance_type in sorted({pool.instance_type for pool in settings.dedicated_pools.values()}):
        price = tables.node_price(instance_type, settings.region, view.today)
        if price is None:
            continue
        if price.region != settings.region:
            found.append(f"{instance_type} has no price in {settings.region}, that of {price.region} is the dearest")
        if price.row.stale(view.today):
            found.append(f"the price of {instance_type} was checked {price.row.age_days(view.today)} days ago")
    return tuple(found)


def minimum_serverless_usd_per_month(settings: Settings, today: date) -> float:
    """What minimum instances cost whether used or not. Raises `PriceMissing`."""
    return sum(line.low for line in _serverless(settings, today))


def monthly(view: View) -> tuple[Line, ...]:
    """Lines of the stack's monthly cost by settings. Raises `PriceMissing`; prices are list prices on `view.today`."""
    settings = view.settings
    if settings is None:
        return ()
    from headrace.catalog import load

    hours, zones, region = tables.HOURS_PER_MONTH, len(settings.network.zones), settings.region
    interfaces = sum(row.type == "Interface" for row in load.vpc_endpoints().values())
    nats = zones if settings.network.egress.value == "nat-per-zone" and settings.network.adopt is None else 0
    lines = []
    for name, pool in settings.dedicated_pools.items():
        node = node_price(name, pool.instance_type, region, view.today) * hours
        most = max(pool.ceiling_nodes, pool.floor_nodes)
        lines.append(
            Line(
                name=f"dedicated {name}",
                low=pool.floor_nodes * node,
                high=most * node,
                note=pool.instance_type,
                follows=pool.hourly_floor is not None,
            )
        )
    lines += _serverless(settings, view.today)
    cluster = (_part("cluster", region) + _machine("m7i.xlarge", region) * settings.cluster.system_nodes) * hours
    network = (nats * _part("nat", region) + interfaces * zones * _part("endpoint", region)) * hours
    volume = _part("volume", region)
    low_gib = sum(pool.floor_nodes * pool.root_volume_gib for pool in settings.dedicated_pools.values())
    high_gib = sum(pool.ceiling_nodes * pool.root_volume_gib for pool in settings.dedicated_pools.values())
    store_gib = sum(release.weights_gib for release in settings.releases.values())
    return (
        *lines,
        *_router(settings, zones),
        Line(name="cluster", low=cluster, high=cluster, note="control plane and system nodes"),
        Line(name="network", low=network, high=network * 1.5, note="NAT gateways and endpoints; data is extra"),
        Line(
            name="storage",
            low=(low_gib + store_gib) * volume,
            high=(high_gib + store_gib) * volume,
        ),
    )


def _router(settings: Settings, zones: int) -> Iterator[Line]:
    """The router's machines and journals, and what its replicas share; nothing without its image."""
    router, stores, region = settings.router, settings.data_stores, settings.region
    if router.image is None:
        return
    hours = tables.HOURS_PER_MONTH
    node = _machine(router.instance_type, region) * hours
    journal = router.journal_gib * _part("volume", region)
    least, most = max(router.min_replicas, zones), max(router.max_replicas, zones)
    yield Line(
        name="router",
        low=least * node + router.min_replicas * journal,
        high=most * node + router.max_replicas * journal,
        note=router.instance_type,
    )
    copies = 2 if stores.database.multi_zone else 1
    fixed = stores.cache.nodes * _machine(stores.cache.node_type, region) * hours
    fixed += copies * _machine(stores.database.instance_class, region) * hours
    storage = copies * _part("database-storage", region)
    yield Line(
        name="data stores",
        low=fixed + stores.database.storage_gib * storage,
        high=fixed + max(stores.database.storage_gib, stores.database.max_storage_gib) * storage,
        note="cache and database",
    )


def _part(item: str, region: str) -> float:
    price = tables.platform_usd(item, region)
    if price is None:
        raise PriceMissing(f"price of {item} in {region}")
    return price


def _machine(machine: str, region: str) -> float:
    price = tables.machine_usd_per_hour(machine, region)
    if price is None:
        raise PriceMissing(f"price of {machine} in {region}")
    return price


def _serverless(settings: Settings, today: date) -> list[Line]:
    lines = []
    for name, pool in settings.serverless_pools.items():
        provider = pool.provider.value
        idle = tables.serverless_usd_per_hour(provider, pool.gpu, pool.gpu_count, today, always_on=True)
        busy = tables.serverless_usd_per_hour(provider, pool.gpu, pool.gpu_count, today, always_on=False)
        if idle is None or busy is None:
            raise PriceMissing(f"price of {pool.gpu} at {provider} (serverlessPools.{name})")
        ceiling = settings.router.pool_spend_ceilings_usd_per_hour.get(name, settings.router.spend_ceiling_usd_per_hour)
        most = pool.max_instances * busy * region_factor(provider, pool.regions)
        most = most if ceiling is None else min(most, ceiling)
        low = pool.min_instances * idle * region_factor(provider, pool.regions) * tables.HOURS_PER_MONTH
        lines.append(
            Line(name=f"serverless {name}", low=low, high=max(low, most * tables.HOURS_PER_MONTH), note=f"{pool.gpu}")
        )
    return lines


def region_factor(provider: str, regions: list[str]) -> float:
    """What a provider takes more for a pinned region: the broad factor for one broad region, else the narrow one."""
    from headrace.catalog import load

    if not regions or provider != "modal":
        return 1.0
    rules = tables.book().rules(provider)
    broad = all((row := load.modal_regions().get(region)) is not None and row.breadth == "broad" for region in regions)
    return float(rules.region_multiplier if broad else rules.narrow_region_multiplier)
