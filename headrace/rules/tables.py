"""The catalogue as rules ask for it. Imported on the first question, because it brings pydantic and YAML."""

from __future__ import annotations

import typing
from collections.abc import Iterable
from datetime import date

if typing.TYPE_CHECKING:
    from headrace.catalog.price import MachinePrice, PriceBook
    from headrace.catalog.schema import InstanceType

# AWS bills a month as 8760 / 12 hours.
HOURS_PER_MONTH: typing.Final = 730


def jurisdiction_of_region(region: str) -> str | None:
    """Jurisdiction of an AWS region; None where the catalogue doesn't know it."""
    from headrace.catalog import load

    row = load.aws_regions().get(region)
    return row.jurisdiction if row else None


def allowed(residency: Iterable[str]) -> frozenset[str]:
    """Jurisdictions that a residency allows."""
    from headrace.catalog import load

    return load.allowed_jurisdictions(residency)


def serverless_place(provider: str, region: str) -> str | None:
    """Jurisdiction of a RunPod data centre or a Modal region."""
    from headrace.catalog import load

    row = (load.modal_regions() if provider == "modal" else load.runpod_data_centers()).get(region)
    return row.jurisdiction if row else None


def routing_place(region: str) -> str | None:
    """Jurisdiction of a region through which Modal takes requests."""
    from headrace.catalog import load

    row = load.modal_routing_regions().get(region)
    return row.jurisdiction if row else None


def instance(name: str) -> InstanceType | None:
    """An EC2 instance type with GPUs."""
    from headrace.catalog import load

    return load.instance_types().get(name)


def book() -> PriceBook:
    """The price catalogue."""
    from headrace.catalog.price import price_book

    return price_book()


def node_price(instance_type: str, region: str, day: date) -> MachinePrice | None:
    """On-demand list price of a GPU machine with the row and the region it comes from; None where there is none."""
    return book().machine(instance_type, region, day)


def node_usd_per_hour(instance_type: str, region: str, day: date) -> float | None:
    """On-demand list price of a GPU machine in a region; that of the dearest region where the catalogue has none for
    this one. None where it has none for the type."""
    price = node_price(instance_type, region, day)
    return None if price is None else float(price.usd_per_hour)


def platform_usd(item: str, region: str) -> float | None:
    """List price of a part beside GPUs, per hour or per GiB and month; that of the dearest region where the catalogue
    has none for this one. None where it doesn't know the part."""
    from headrace.catalog import load

    rows = [row for row in load.platform_prices().values() if row.item == item]
    here = [row for row in rows if row.region == region]
    return max((float(row.usd) for row in here or rows), default=None)


# Sizes of a family in shares of its medium: AWS prices them by their share of the machine.
_SIZES: typing.Final = {"nano": 0.125, "micro": 0.25, "small": 0.5, "medium": 1.0, "large": 2.0, "xlarge": 4.0}


def machine_usd_per_hour(machine: str, region: str) -> float | None:
    """List price of a machine without GPUs (`m7i.xlarge`, `db.t4g.medium`); None for a family of no row."""
    family, _, size = machine.rpartition(".")
    price = platform_usd(family, region)
    times = size.removesuffix("xlarge")
    share = _SIZES.get(size) or (4.0 * int(times) if times.isdigit() else None)
    return None if price is None or share is None else price * share


def serverless_usd_per_hour(provider: str, gpu: str, gpus: int, day: date, *, always_on: bool) -> float | None:
    """List price of a serverless instance-hour. Minimum workers are cheaper where the provider says so."""
    price = _price(provider, gpu, "active", day) if always_on else None
    price = price if price is not None else _price(provider, gpu, "flex", day)
    return None if price is None else price * gpus


def _price(provider: str, gpu: str, tier: str, day: date) -> float | None:
    row = book().known(provider, gpu, tier, day)
    return None if row is None else float(row.usd_per_hour)
