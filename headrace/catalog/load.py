"""The only reader of the catalogue. Each table is read once, when first asked for, and can't be changed afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from headrace.catalog.base import CatalogError, Sourced
from headrace.catalog.schema import (
    CompromisedRelease,
    CudaRequirement,
    DriverBranch,
    EksAddon,
    EksVersion,
    Gpu,
    InstancePrice,
    InstanceType,
    Jurisdiction,
    NodeImageRelease,
    Offering,
    Place,
    PlatformPrice,
    ProviderLimit,
    ServerlessGpu,
    VpcEndpoint,
)
from headrace.yamlfile import YamlProblem, parse

Row = TypeVar("Row", bound=Sourced)
Table = Mapping[str, Row]

# file, section of the file ("" where the file is one table) -> type of its rows
TABLES: Final[Mapping[tuple[str, str], type[Sourced]]] = {
    ("gpus", ""): Gpu,
    ("instance_types", ""): InstanceType,
    ("offerings", ""): Offering,
    ("regions", "aws"): Place,
    ("regions", "runpod"): Place,
    ("regions", "modal"): Place,
    ("regions", "modalRouting"): Place,
    ("jurisdictions", ""): Jurisdiction,
    ("eks_versions", ""): EksVersion,
    ("eks_addons", ""): EksAddon,
    ("vpc_endpoints", ""): VpcEndpoint,
    ("drivers", "nodeImages"): NodeImageRelease,
    ("drivers", "cuda"): CudaRequirement,
    ("drivers", "branches"): DriverBranch,
    ("provider_limits", ""): ProviderLimit,
    ("serverless_gpus", "runpod"): ServerlessGpu,
    ("serverless_gpus", "modal"): ServerlessGpu,
    ("platform_prices", ""): PlatformPrice,
    ("instance_prices", "usEast1"): InstancePrice,
    ("instance_prices", "otherRegions"): InstancePrice,
    ("compromised", ""): CompromisedRelease,
}


@cache
def _document(file: str) -> Mapping[str, Any]:
    text = (files("headrace.catalog") / "data" / f"{file}.yaml").read_text(encoding="utf-8")
    try:
        document = parse(text)
    except YamlProblem as problem:
        raise CatalogError(f"headrace/catalog/data/{file}.yaml: {problem}") from problem
    if not isinstance(document, dict):
        raise CatalogError(f"headrace/catalog/data/{file}.yaml: not a mapping")
    return document


def read_table(where: str, document: Mapping[str, Any], row_type: type[Row]) -> Table[Row]:
    """Rows of `{defaults: {…}, rows: {name: {…}}}`: a row takes from `defaults` what it doesn't say itself."""
    unknown = document.keys() - {"defaults", "rows"}
    if unknown:
        raise CatalogError(f"{where}: unknown keys {sorted(unknown)}; a table has `defaults` and `rows`")
    defaults = document.get("defaults", {})
    rows = {name: {**defaults, **(row or {}), "name": name} for name, row in document["rows"].items()}
    try:
        return MappingProxyType(_adapter(row_type).validate_python(rows))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CatalogError(f"{where}, row {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@cache
def _adapter(row_type: type[Row]) -> TypeAdapter[dict[str, Row]]:
    return TypeAdapter(dict[str, row_type])  # type: ignore[valid-type] # a run-time type argument


@cache
def _table(file: str, section: str) -> Table[Sourced]:
    document = _document(file)
    return read_table(
        f"headrace/catalog/data/{file}.yaml {section}".rstrip(),
        document[section] if section else document,
        TABLES[file, section],
    )


def gpus() -> Table[Gpu]:
    """GPUs by our own names."""
    return cast("Table[Gpu]", _table("gpus", ""))


def instance_types() -> Table[InstanceType]:
    """AWS instance types with GPUs."""
    return cast("Table[InstanceType]", _table("instance_types", ""))


def offerings() -> Table[Offering]:
    """Instance family -> regions that sell it."""
    return cast("Table[Offering]", _table("offerings", ""))


def aws_regions() -> Table[Place]:
    """AWS regions with zones and jurisdiction."""
    return cast("Table[Place]", _table("regions", "aws"))


def runpod_data_centers() -> Table[Place]:
    """RunPod data centres with jurisdiction."""
    return cast("Table[Place]", _table("regions", "runpod"))


def modal_regions() -> Table[Place]:
    """Modal container regions with jurisdiction."""
    return cast("Table[Place]", _table("regions", "modal"))


def modal_routing_regions() -> Table[Place]:
    """Modal regions through which requests can enter."""
    return cast("Table[Place]", _table("regions", "modalRouting"))


def jurisdictions() -> Table[Jurisdiction]:
    """Areas of law that a residency can name."""
    return cast("Table[Jurisdiction]", _table("jurisdictions", ""))


def allowed_jurisdictions(residency: Iterable[str]) -> frozenset[str]:
    """Jurisdictions of places that a residency allows. Unknown names allow nothing: a residency never falls open."""
    table = jurisdictions()
    return frozenset(place for name in residency if name in table for place in table[name].includes)


def eks_versions() -> Table[EksVersion]:
    """Kubernetes versions of EKS with their ends of support."""
    return cast("Table[EksVersion]", _table("eks_versions", ""))


def default_eks_version() -> EksVersion:
    """The version that settings get when they name none."""
    chosen = [row for row in eks_versions().values() if row.default]
    if len(chosen) != 1:
        raise CatalogError(f"eks_versions.yaml: exactly one row must be the default, found {len(chosen)}")
    return chosen[0]


def eks_addons() -> Table[EksAddon]:
    """Pinned add-on versions for the default Kubernetes version."""
    return cast("Table[EksAddon]", _table("eks_addons", ""))


def vpc_endpoints() -> Table[VpcEndpoint]:
    """VPC endpoints that a cluster without internet needs."""
    return cast("Table[VpcEndpoint]", _table("vpc_endpoints", ""))


def node_images() -> Table[NodeImageRelease]:
    """Node image releases with the drivers inside; `headrace.catalog.drivers` answers questions on them."""
    return cast("Table[NodeImageRelease]", _table("drivers", "nodeImages"))


def cuda_requirements() -> Table[CudaRequirement]:
    """What CUDA toolkits need of the driver."""
    return cast("Table[CudaRequirement]", _table("drivers", "cuda"))


def driver_branches() -> Table[DriverBranch]:
    """Life of NVIDIA driver branches."""
    return cast("Table[DriverBranch]", _table("drivers", "branches"))


def provider_limits() -> Table[ProviderLimit]:
    """What an account of a serverless provider gets by default."""
    return cast("Table[ProviderLimit]", _table("provider_limits", ""))


def runpod_pools() -> Table[ServerlessGpu]:
    """RunPod pool id -> GPUs in it."""
    return cast("Table[ServerlessGpu]", _table("serverless_gpus", "runpod"))


def modal_gpus() -> Table[ServerlessGpu]:
    """Modal GPU name -> our GPU name."""
    return cast("Table[ServerlessGpu]", _table("serverless_gpus", "modal"))


def platform_prices() -> Table[PlatformPrice]:
    """List prices of parts beside GPUs, by item and region."""
    return cast("Table[PlatformPrice]", _table("platform_prices", ""))


def instance_prices() -> tuple[InstancePrice, ...]:
    """On-demand list prices of GPU machines; `PriceBook.machine` answers questions on them."""
    sections = [cast("Table[InstancePrice]", _table(*key)) for key, row in TABLES.items() if row is InstancePrice]
    return tuple(row for section in sections for row in section.values())


def compromised_releases() -> Table[CompromisedRelease]:
    """Releases known to carry malicious code."""
    return cast("Table[CompromisedRelease]", _table("compromised", ""))


def ages(today: date) -> dict[str, int]:
    """Table -> days since its oldest row was checked, so that reports can print how stale an answer may be."""
    return {
        f"{file}.{section}" if section else file: max(
            (row.age_days(today) for row in _table(file, section).values()), default=0
        )
        for file, section in TABLES
    }
