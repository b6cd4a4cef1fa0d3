"""The price catalogue: what a GPU costs at whom, since when, by which billing rules, and who says so.

One file per provider in `data/prices/`, one row per price and day it took effect. A changed price is a new row, so that
a plan of last month can be priced again. A price that is not there is refused; it is never zero. A user's own file in
the same format goes before the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from headrace.catalog.base import CatalogError, Dated, Sourced
from headrace.catalog.load import gpus as gpu_table
from headrace.catalog.load import instance_prices
from headrace.catalog.load import instance_types as instance_table
from headrace.catalog.schema import InstancePrice
from headrace.errors import refuse
from headrace.yamlfile import YamlProblem, parse

SECONDS_PER_HOUR: Final = Decimal(3600)
Row = TypeVar("Row", bound=Sourced)


class PriceUnit(StrEnum):
    """What one price buys."""

    HOUR = "hour"
    SECOND = "second"


class Tier(StrEnum):
    """How the GPU is sold. `flex` and `active` are serverless: on demand, and always-on minimum workers."""

    ON_DEMAND = "on-demand"
    ON_DEMAND_PCIE = "on-demand-pcie"
    SECURE = "secure"
    SECURE_PCIE = "secure-pcie"
    COMMUNITY = "community"
    SPOT = "spot"
    RESERVED = "reserved"
    FLEX = "flex"
    ACTIVE = "active"

    @property
    def serverless(self) -> bool:
        """Whether a worker exists only while needed, or as a vendor's minimum worker."""
        return self in (Tier.FLEX, Tier.ACTIVE)


class Price(Dated):
    """A price of one GPU from a day on."""

    gpu: str
    """Name in the table of GPUs."""
    provider: str
    """Who sells it; the file's name."""
    tier: Tier
    """How it is sold."""
    per: PriceUnit
    """Time that `usd` buys."""
    usd: Decimal = Field(gt=0)
    """US dollars per GPU and unit; an exact decimal."""
    region: str | None = None
    """Region of the price where the provider's prices differ by region."""
    sold_in: int = Field(default=1, ge=1)
    """GPUs sold together: 8 where only whole machines of eight exist."""
    commitment_months: int = Field(default=0, ge=0)
    """Months that are paid whether used or not."""

    @model_validator(mode="after")
    def _consistent(self) -> Price:
        if self.gpu not in gpu_table():
            raise ValueError(f"the GPU {self.gpu!r} is not in the table of GPUs")
        if self.tier.serverless != (self.per is PriceUnit.SECOND):
            raise ValueError("serverless prices are per second, others per hour")
        return self

    @property
    def usd_per_hour(self) -> Decimal:
        """US dollars per GPU-hour."""
        return self.usd * SECONDS_PER_HOUR if self.per is PriceUnit.SECOND else self.usd


class Billing(Sourced):
    """How a provider bills."""

    granularity_seconds: int = Field(default=1, ge=1)
    """Billed time is rounded up to a multiple of it."""
    minimum_seconds: int = Field(default=0, ge=0)
    """Least billed time of one use."""
    idle_timeout_seconds: int | None = Field(default=None, ge=0)
    """Default time that an idle serverless worker is kept and billed."""
    cold_start_billed: bool = True
    """Whether the start of a worker is billed."""
    region_multiplier: Decimal = Field(default=Decimal(1), ge=1)
    """Factor on the price when a broad region is pinned."""
    narrow_region_multiplier: Decimal = Field(default=Decimal(1), ge=1)
    """Factor on the price when a narrow region is pinned."""
    non_preemptible_multiplier: Decimal = Field(default=Decimal(1), ge=1)
    """Factor for workers that are never taken away."""
    concurrent_gpus: int | None = Field(default=None, ge=1)
    """Default cap of an account."""
    egress_usd_per_gb: Decimal = Field(default=Decimal(0), ge=0)
    """Outbound data."""


@dataclass(frozen=True, kw_only=True)
class MachinePrice:
    """What a GPU machine costs on demand, in US dollars per hour."""

    instance_type: str
    region: str
    """Region of the price: another than the machine's where the catalogue has none for that one."""
    usd_per_hour: Decimal
    row: Dated
    """The row it comes from."""


@dataclass(frozen=True, kw_only=True)
class PriceBook:
    """Prices and billing rules; `overrides` are names of rows that came from the user's own file."""

    rows: tuple[Price, ...]
    billing: Mapping[str, Billing]
    machines: tuple[InstancePrice, ...] = ()
    """Whole machines of AWS: a large one costs more than its GPUs in the smallest ones."""
    overrides: frozenset[str] = frozenset()

    def in_force(self, day: date, *, gpu: str | None = None, serverless: bool | None = None) -> tuple[Price, ...]:
        """Prices that hold on `day`, cheapest first; the user's own before the catalogue's for the same thing."""
        own = {(r.provider, r.gpu, r.tier, r.region) for r in self.rows if r.name in self.overrides and r.in_force(day)}
        rows = [
            row
            for row in self.rows
            if row.in_force(day)
            and (gpu is None or row.gpu == gpu)
            and (serverless is None or row.tier.serverless == serverless)
            and (row.name in self.overrides or (row.provider, row.gpu, row.tier, row.region) not in own)
        ]
        newest = {}
        for row in sorted(rows, key=lambda r: r.valid_from):
            newest[row.provider, row.gpu, row.tier, row.region] = row
        return tuple(sorted(newest.values(), key=lambda row: (row.usd_per_hour, row.provider, row.name)))

    def known(self, provider: str, gpu: str, tier: str, day: date) -> Price | None:
        """The price in force on `day`, None if there is none."""
        rows = self.in_force(day, gpu=gpu)
        return next((row for row in rows if row.provider == provider and row.tier == tier), None)

    def find(self, provider: str, gpu: str, tier: str, day: date) -> Price:
        """The price in force on `day`; refused if there is none."""
        row = self.known(provider, gpu, tier, day)
        if row is not None:
            return row
        there = sorted({f"{row.provider} {row.tier}" for row in self.in_force(day, gpu=gpu)})
        known = ", ".join(there) if there else "none for this GPU"
        raise refuse(
            f"{provider}/{gpu}/{tier}",
            None,
            f"no price is in force on {day}",
            reason=f"the catalogue has {known}; a missing price is never taken for zero",
            next_step="name one of these, or add a row to your own price file (--prices)",
        )

    def machine(self, instance_type: str, region: str, day: date) -> MachinePrice | None:
        """On-demand price of a GPU machine of AWS: the user's own for its GPUs, else the catalogue's for the region,
        else that of the dearest region that it knows. None where it has none for the type."""
        kind = instance_table().get(instance_type)
        if kind is None:
            return None
        for own in self.in_force(day, gpu=kind.gpu):
            aws = own.provider == "aws" and own.tier is Tier.ON_DEMAND and own.region in (None, region)
            if aws and own.name in self.overrides:
                usd = own.usd_per_hour * kind.gpu_count
                return MachinePrice(instance_type=instance_type, region=region, usd_per_hour=usd, row=own)
        held = [row for row in self.machines if row.instance_type == instance_type and row.in_force(day)]
        prices = {
            place: (usd, row) for row in sorted(held, key=lambda r: r.valid_from) for place, usd in row.usd.items()
        }
        if not prices:
            return None
        place = region if region in prices else max(prices, key=lambda one: prices[one][0])
        usd, row = prices[place]
        return MachinePrice(instance_type=instance_type, region=place, usd_per_hour=usd, row=row)

    def rules(self, provider: str) -> Billing:
        """Billing rules of a provider; refused if unknown."""
        if provider not in self.billing:
            raise refuse(
                provider,
                None,
                "has no billing rules in the catalogue",
                next_step="add it to `billing` in your own price file (--prices)",
            )
        return self.billing[provider]

    def stale(self, today: date, *, rows: tuple[Price, ...] | None = None) -> list[str]:
        """One sentence for each row in force whose source nobody has looked at for too long."""
        return [
            f"price {row.provider} {row.gpu} {row.tier} was checked {row.age_days(today)} days ago"
            f" (limit {row.stale_after_days}): look at {row.source}"
            for row in (rows if rows is not None else self.in_force(today))
            if row.stale(today)
        ]


@cache
def _shipped() -> PriceBook:
    folder = files("headrace.catalog") / "data" / "prices"
    rows: list[Price] = []
    billing: dict[str, Billing] = {}
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".yaml"):
            continue
        document = parse(file.read_text(encoding="utf-8"))
        if file.name == "_billing.yaml":
            billing = _rows(file.name, document, Billing)
        else:
            provider = file.name.removesuffix(".yaml")
            rows += _rows(file.name, document, Price, provider=provider).values()
    return PriceBook(rows=tuple(rows), billing=billing, machines=instance_prices())


def _rows(where: str, document: object, row_type: type[Row], **fixed: str) -> dict[str, Row]:
    """Rows of `{defaults: {…}, rows: {name: {…}}}`, named `<provider>/<key>` where a provider is fixed."""
    if not isinstance(document, dict) or not isinstance(document.get("rows"), dict):
        raise CatalogError(f"{where}: a price file is a mapping with `rows`")
    defaults = document.get("defaults") or {}
    if not isinstance(defaults, dict):
        raise CatalogError(f"{where}: `defaults` is a mapping")
    for key, row in document["rows"].items():
        if row is not None and not isinstance(row, dict):
            raise CatalogError(f"{where}, row {key}: a row is a mapping")
    prefix = f"{fixed['provider']}/" if "provider" in fixed else ""
    rows = {
        f"{prefix}{key}": {**defaults, **fixed, **(row or {}), "name": f"{prefix}{key}"}
        for key, row in document["rows"].items()
    }
    try:
        return TypeAdapter(dict[str, row_type]).validate_python(rows)  # type: ignore[valid-type] # run-time type
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CatalogError(f"{where}, row {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def price_book(own: Path | None = None) -> PriceBook:
    """The catalogue, with the user's own file laid over it.

    The file has `rows` (each with its `provider`) and, where needed, `billing` for providers of its own.
    """
    shipped = _shipped()
    if own is None:
        return shipped
    try:
        document = parse(own.read_text(encoding="utf-8"))
        rows = _rows(own.name, document, Price)
        own_billing = document.get("billing") if isinstance(document, dict) else None
        billing = _rows(own.name, {"rows": own_billing}, Billing) if own_billing else {}
    except (OSError, UnicodeDecodeError, YamlProblem, CatalogError) as error:
        raise refuse(
            "--prices", str(own), f"can't be used ({error})", next_step="see docs/planner/prices.md for the format"
        ) from error
    named = {f"own/{name}": row.model_copy(update={"name": f"own/{name}"}) for name, row in rows.items()}
    return PriceBook(
        rows=(*shipped.rows, *named.values()),
        billing={**shipped.billing, **billing},
        machines=shipped.machines,
        overrides=frozenset(named),
    )
