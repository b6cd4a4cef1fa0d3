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
    number rests on."""

    name: str
    low: float
    high: float
    note: str = ""


class PriceMissing(Exception):
    """The catalogue has no price for something that costs money; the message names it."""


def floor_usd_per_hour(settings: Settings, today: date) -> float:
    """List price of the dedicated floor. Raises `PriceMissing`."""
    return sum(
        pool.floor_nodes * node_price(name, pool.instance_type, today)
        for name, pool in settings.dedicated_pools.items()
    )


def node_price(pool: str, instance_type: str, today: date) -> float:
    """List price of a machine of a pool. Raises `PriceMissing`."""
    price = tables.node_usd_per_hour(instance_type, today)
    if price is None:
        raise PriceMissing(f"price of {instance_type} (dedicatedPools.{pool})")
    return price


def minimum_serverless_usd_per_month(settings: Settings, today: date) -> float:
    """What minimum instances cost whether used or not. Raises `PriceMissing`."""
    return sum(line.low for line in _serverless(settings, today))


# What AWS asks in eu-central-1 for parts that every platform has, in USD; from memory of its public price pages on
# 2026-11-21, not verified. They are a few percent of a stack with GPUs.
CLUSTER_USD_PER_HOUR = 0.10  # https://aws.amazon.com/eks/pricing/
NAT_USD_PER_HOUR = 0.052  # https://aws.amazon.com/vpc/pricing/
ENDPOINT_USD_PER_HOUR = 0.012  # https://aws.amazon.com/privatelink/pricing/
VOLUME_USD_PER_GIB_MONTH = 0.0952  # https://aws.amazon.com/ebs/pricing/ (gp3)
SYSTEM_NODE_USD_PER_HOUR = 0.2419  # https://aws.amazon.com/ec2/pricing/on-demand/ (m7i.xlarge)


def monthly(view: View) -> tuple[Line, ...]:
    """Lines of the stack's monthly cost by settings. Raises `PriceMissing`; prices are list prices on `view.today`."""
    settings = view.settings
    if settings is None:
        return ()
    from headrace.catalog import load

    hours, zones = tables.HOURS_PER_MONTH, len(settings.network.zones)
    interfaces = sum(row.type == "Interface" for row in load.vpc_endpoints().values())
    nats = zones if settings.network.egress.value == "nat-per-zone" and settings.network.adopt is None else 0
    lines = [
        Line(
            name=f"dedicated {name}",
            low=pool.floor_nodes * node_price(name, pool.instance_type, view.today) * hours,
            high=max(pool.ceiling_nodes, pool.floor_nodes) * node_price(name, pool.instance_type, view.today) * hours,
            note=pool.instance_type,
        )
        for name, pool in settings.dedicated_pools.items()
    ]
    lines += _serverless(settings, view.today)
    cluster = (CLUSTER_USD_PER_HOUR + SYSTEM_NODE_USD_PER_HOUR * settings.cluster.system_nodes) * hours
    network = (nats * NAT_USD_PER_HOUR + interfaces * zones * ENDPOINT_USD_PER_HOUR) * hours
    low_gib = sum(pool.floor_nodes * pool.root_volume_gib for pool in settings.dedicated_pools.values())
    high_gib = sum(pool.ceiling_nodes * pool.root_volume_gib for pool in settings.dedicated_pools.values())
    store_gib = sum(release.weights_gib for release in settings.releases.values())
    return (
        *lines,
        Line(name="cluster", low=cluster, high=cluster, note="control plane and system nodes"),
        Line(name="network", low=network, high=network * 1.5, note="NAT gateways and endpoints; data is extra"),
        Line(
            name="storage",
            low=(low_gib + store_gib) * VOLUME_USD_PER_GIB_MONTH,
            high=(high_gib + store_gib) * VOLUME_USD_PER_GIB_MONTH,
        ),
    )


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
