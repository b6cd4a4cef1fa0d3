"""The workload file: what is served, on which GPU, at which prices and under which limits."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from headrace.catalog.price import Price, PriceBook, Tier
from headrace.errors import Problem, Refused, refuse
from headrace.planner.service import Model, ServiceModel, measured, roofline, working_batch
from headrace.planner.tariff import Tariff
from headrace.yamlfile import YamlProblem, parse


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class ModelSection(_Section):
    """The model's size in GPU memory; the same words as a release in settings."""

    name: str = "model"
    weights_gib: float = Field(gt=0)
    kv_cache_kib_per_token: float = Field(gt=0)
    max_context_tokens: int = Field(default=8192, gt=0)
    tensor_parallel: int = Field(default=1, ge=1)
    parameters_billion: float | None = Field(default=None, gt=0)


class ProfileSection(_Section):
    """Measured speed: either the two numbers or a profile file."""

    prefill_tokens_per_second: float | None = Field(default=None, gt=0)
    decode_tokens_per_second: float | None = Field(default=None, gt=0)
    batch: int = Field(default=16, ge=1)
    file: str | None = None
    model: str | None = None
    hardware: str | None = None

    @model_validator(mode="after")
    def _one_way(self) -> ProfileSection:
        numbers = self.prefill_tokens_per_second is not None and self.decode_tokens_per_second is not None
        named = self.file is not None and self.model is not None and self.hardware is not None
        if numbers == named:
            raise ValueError("give prefillTokensPerSecond and decodeTokensPerSecond, or file, model and hardware")
        return self


class PriceSection(_Section):
    """A price by catalogue row (provider and tier) or by number."""

    provider: str | None = None
    tier: str | None = None
    usd_per_hour: Decimal | None = Field(default=None, gt=0)
    usd_per_second: Decimal | None = Field(default=None, gt=0)


class DedicatedSection(PriceSection):
    """The dedicated side. `overheadFactor` multiplies its price and those of reserved tiers and other GPU types by the
    platform's hidden costs."""

    maximum_gpus: int | None = Field(default=None, ge=0)
    lead_time_s: float = Field(default=600, ge=0)
    overhead_factor: float = Field(default=1.0, ge=1.0)


class ServerlessSection(PriceSection):
    """The serverless side."""

    idle_timeout_s: float | None = Field(default=None, ge=0)
    cold_start_s: float = Field(default=30.0, ge=0)
    maximum_gpus: int | None = Field(default=None, ge=1)
    pinned_region: str | None = Field(default=None, pattern="^(broad|narrow)$")


class ReservedTier(_Section):
    """A commitment: cheaper, paid whether used or not."""

    name: str
    usd_per_hour: Decimal = Field(gt=0)
    commitment_months: int = Field(default=12, ge=1)
    maximum_gpus: int | None = Field(default=None, ge=0)


class SloSection(_Section):
    """Waiting allowed before the first token, at a percentile of requests."""

    time_to_first_token_ms: float = Field(default=2000, gt=0)
    percentile: float = Field(default=95, gt=0, lt=100)


class TypeOption(_Section):
    """Another GPU type that may hold part of the floor: its price and its speed relative to `gpu`."""

    gpu: str
    usd_per_hour: Decimal = Field(gt=0)
    relative_speed: float = Field(gt=0)
    maximum_gpus: int | None = Field(default=None, ge=0)


class Batch(_Section):
    """Work that may wait: GPU-hours a day, by hour of its deadline."""

    gpu_hours_per_day: float = Field(default=0, ge=0)


class Workload(_Section):
    """The whole file."""

    name: str = "workload"
    model: ModelSection
    gpu: str
    profile: ProfileSection | None = None
    dedicated: DedicatedSection
    serverless: ServerlessSection
    reserved: tuple[ReservedTier, ...] = ()
    gpu_options: tuple[TypeOption, ...] = ()
    slo: SloSection = SloSection()
    batch: Batch = Batch()
    target_utilization: float = Field(default=0.8, gt=0, le=1)
    cold_start_penalty_usd: float = Field(default=0.0, ge=0)
    operations_usd_per_month: float = Field(default=0.0, ge=0)
    current_usd_per_month: float | None = Field(default=None, ge=0)


def read_workload(path: Path, *, option: str = "--workload") -> Workload:
    """Read and check a workload file; every problem at once."""
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YamlProblem) as error:
        raise refuse(option, str(path), f"can't be read ({error})", next_step="give a YAML file") from error
    if not isinstance(document, dict):
        raise refuse(option, str(path), "is not a mapping", next_step="see docs/planner/plan.md for an example")
    try:
        return Workload.model_validate(document)
    except ValidationError as error:
        problems = [
            Problem(
                path=".".join(str(part) for part in item["loc"]) or option,
                value=item["input"] if not isinstance(item["input"], dict) else None,
                rule=item["msg"],
                reason="",
                next_step=f"correct it in {path}",
            )
            for item in error.errors(include_url=False)
        ]
        raise Refused(*problems) from error


def service_of(workload: Workload, *, tokens_in: float, tokens_out: float, folder: Path) -> ServiceModel:
    """The service-time model for requests of this mean size; a relative profile file lies beside the workload."""
    model = Model(**workload.model.model_dump())
    profile = workload.profile
    if profile is None:
        return roofline(model, workload.gpu, tokens_in=tokens_in, tokens_out=tokens_out)
    working_batch(model, workload.gpu, context_tokens=tokens_in + tokens_out / 2)  # a profile doesn't make a model fit
    if profile.file is None:
        return ServiceModel(
            gpu=workload.gpu,
            gpus_per_replica=model.tensor_parallel,
            prefill_tokens_s=profile.prefill_tokens_per_second or 0.0,
            decode_tokens_s=profile.decode_tokens_per_second or 0.0,
            batch=profile.batch,
            source="measured: numbers in the workload file",
        )
    return measured(
        folder / profile.file,
        model=profile.model or "",
        hardware=profile.hardware or "",
        gpu=workload.gpu,
        tensor_parallel=model.tensor_parallel,
        tokens_in=tokens_in,
    )


def tariff_of(workload: Workload, book: PriceBook, day: date) -> tuple[Tariff, tuple[Price, ...]]:
    """Prices per replica (all its GPUs), with the catalogue rows they come from."""
    gpus = workload.model.tensor_parallel
    dedicated, dedicated_row = _hourly(workload.dedicated, workload.gpu, "dedicated", book, day)
    serverless, serverless_row = _hourly(workload.serverless, workload.gpu, "serverless", book, day)
    idle = workload.serverless.idle_timeout_s
    factor = Decimal(1)
    minimum = 0
    if serverless_row is not None:
        rules = book.rules(serverless_row.provider)
        idle = rules.idle_timeout_seconds if idle is None else idle
        minimum = rules.minimum_seconds
        factor = {
            None: Decimal(1),
            "broad": rules.region_multiplier,
            "narrow": rules.narrow_region_multiplier,
        }[workload.serverless.pinned_region]
    tariff = Tariff(
        dedicated_usd_hour=float(dedicated * gpus) * workload.dedicated.overhead_factor,
        serverless_usd_second=float(serverless * factor * gpus) / 3600,
        idle_timeout_s=60.0 if idle is None else idle,
        cold_start_s=workload.serverless.cold_start_s,
        minimum_billed_s=minimum,
    )
    return tariff, tuple(row for row in (dedicated_row, serverless_row) if row is not None)


def _hourly(section: PriceSection, gpu: str, path: str, book: PriceBook, day: date) -> tuple[Decimal, Price | None]:
    if section.usd_per_hour is not None:
        return section.usd_per_hour, None
    if section.usd_per_second is not None:
        return section.usd_per_second * 3600, None
    if section.provider is None or section.tier is None:
        raise refuse(
            path,
            None,
            "has no price",
            reason="a missing price is never taken for zero",
            next_step="give provider and tier, or usdPerHour or usdPerSecond",
        )
    row = book.find(section.provider, gpu, section.tier, day)
    # A vendor's minimum worker (active) is paid all the time: it may stand for either side.
    if row.tier is not Tier.ACTIVE and row.tier.serverless != (path == "serverless"):
        raise refuse(
            f"{path}.tier",
            section.tier,
            f"is a price of {'serverless' if row.tier.serverless else 'dedicated'} GPUs",
            next_step=f"name a tier of {path} GPUs; `headrace plan prices --gpu {gpu}` lists them",
        )
    return row.usd_per_hour, row
