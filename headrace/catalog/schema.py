"""Row types of the catalogue's tables."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from headrace.catalog.base import Dated, Sourced


class GpuClass(StrEnum):
    """What kind of card it is. CUDA forward-compatibility packages work on data-centre GPUs only."""

    DATA_CENTER = "data-center"
    WORKSTATION = "workstation"
    GEFORCE = "geforce"


class Gpu(Sourced):
    """A GPU model."""

    memory_gib: float = Field(gt=0)
    """Memory that the driver offers to a process, in GiB."""
    compute_capability: str = Field(pattern=r"^\d+\.\d+$")
    """CUDA compute capability, for instance 8.9."""
    architecture: str
    """The vendor's name of the architecture, lower case."""
    gpu_class: GpuClass
    """Data-centre, workstation or GeForce."""
    fp8: bool
    """Whether the tensor cores multiply 8-bit floats."""
    bf16: bool
    """Whether the tensor cores multiply bfloat16."""
    product_label: str | None = None
    """Value of the node label nvidia.com/gpu.product that GPU feature discovery sets."""

    @property
    def forward_compatible(self) -> bool:
        """Whether a cuda-compat package can lift the driver's CUDA limit (NVIDIA forward-compatibility page)."""
        return self.gpu_class is GpuClass.DATA_CENTER


class InstanceType(Sourced):
    """An AWS instance type with GPUs."""

    gpu: str
    """Name in the table of GPUs."""
    gpu_count: int = Field(ge=1)
    """Whole GPUs."""
    vcpus: int = Field(ge=1)
    """Default vCPUs."""
    memory_gib: int = Field(ge=1)
    """Main memory in GiB."""
    network_cards: int = Field(ge=1)
    """Network cards; EFA interfaces are spread over them."""
    efa_interfaces: int = Field(ge=0)
    """The most EFA interfaces, 0 where EFA is not supported."""
    capacity_blocks: bool
    """Whether AWS sells capacity blocks of it."""
    nvme_gb: int = Field(ge=0)
    """Local NVMe storage in GB over all disks."""

    @property
    def family(self) -> str:
        """The part before the dot, for instance `g6e`."""
        return self.name.split(".", 1)[0]


class Offering(Sourced):
    """Where AWS sells an instance family."""

    regions: frozenset[str]
    """AWS regions."""


class Place(Sourced):
    """A region or data centre of any provider."""

    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    """ISO 3166-1 code; None where the name covers several countries."""
    jurisdiction: str
    """Narrowest row of the table of jurisdictions that holds the place."""
    zone_letters: str = ""
    """AWS only: letters of its availability zones."""
    breadth: str | None = Field(default=None, pattern=r"^(broad|narrow)$")
    """Modal only: whether the name is a broad or a narrow region, which decides on the price multiplier."""

    @property
    def zones(self) -> tuple[str, ...]:
        """AWS only: full names of its availability zones."""
        return tuple(f"{self.name}{letter}" for letter in self.zone_letters)


class Jurisdiction(Sourced):
    """An area of law."""

    title: str
    """Its full name."""
    includes: frozenset[str]
    """Jurisdictions of the places that a residency of this name allows."""


class EksVersion(Sourced):
    """A Kubernetes version of EKS."""

    end_of_standard_support: date
    """From this day on AWS bills extended support, or upgrades the cluster by itself where extended support is off."""
    end_of_extended_support: date
    """From this day on AWS upgrades the cluster by itself."""
    default: bool = False
    """The version that settings get when they name none."""


class EksAddon(Sourced):
    """Pinned version of a managed add-on."""

    kubernetes: str
    """Kubernetes version it is pinned for."""
    version: str = Field(pattern=r"^v\d+\.\d+\.\d+-eksbuild\.\d+$")
    """Version string of describe-addon-versions."""


class VpcEndpoint(Sourced):
    """A VPC endpoint that a cluster without internet needs."""

    service: str
    """Last part of the service name com.amazonaws.<region>.<service>."""
    type: str = Field(pattern=r"^(Gateway|Interface)$")
    """Gateway or Interface."""
    reason: str
    """Who needs it."""


class NodeImageRelease(Sourced):
    """A release of a node image from which on a driver is inside."""

    image: str
    """Value of settings `nodeImage`."""
    from_release: str
    """First release: the date part of an AL2023 release version, the version of a Bottlerocket one."""
    drivers: tuple[str, ...] = Field(min_length=1)
    """NVIDIA drivers inside, oldest branch first; a bare branch number where the exact release is not known."""
    chosen_at_boot: bool = False
    """Whether the image chooses among `drivers` by instance type at first boot."""
    newest_branch_only_for: frozenset[str] = frozenset()
    """Instance families that get the last of `drivers`; all others get the first."""
    kubernetes: frozenset[str]
    """Kubernetes versions the image is built for."""


class CudaRequirement(Sourced):
    """What a CUDA toolkit needs of the driver. The row's name is a major version or a major.minor version."""

    minimum_driver: str
    """Oldest driver branch that runs it (minor-version compatibility)."""
    toolkit_driver: str | None = None
    """Driver that shipped with the toolkit; newer kernels of that minor version need it."""


class DriverBranch(Sourced):
    """Life of an NVIDIA driver branch."""

    kind: str
    """long-term, production or new-feature."""
    max_cuda: str
    """Newest CUDA major version it runs."""
    end_of_life: date
    """Last day with fixes."""


class ProviderLimit(Sourced):
    """What an account of a serverless provider gets before anyone asked for more."""

    spend_usd_per_hour: Decimal | None = None
    """Most spend per hour over all resources of the account, in US dollars."""
    max_workers_per_endpoint: int | None = None
    """Default of the most workers of one endpoint."""
    max_concurrent_gpus: int | None = None
    """Most GPUs at once over the account."""
    idle_timeout_seconds: int | None = None
    """Default time after which an idle worker stops."""


class ServerlessGpu(Sourced):
    """A name under which a serverless provider sells GPUs."""

    gpus: tuple[str, ...] = Field(min_length=1)
    """Names in the table of GPUs that one may get."""
    gpu_type_ids: dict[str, str] = Field(default_factory=dict)
    """RunPod only: GPU name -> the vendor's GPU type id."""
    max_per_container: int | None = None
    """Modal only: the most of them in one container."""


class PlatformPrice(Sourced):
    """List price of a part beside GPUs."""

    item: str
    """What: a part by our name, or a family of machines (`m7i`, `db.t4g`) whose medium size is priced."""
    region: str
    """AWS region."""
    per: Literal["hour", "gib-month"]
    """What it is for."""
    usd: Decimal = Field(gt=0)
    """US dollars."""


class InstancePrice(Dated):
    """On-demand Linux list prices of a GPU machine. The row's name is `<instance type>` or `<instance type>@<day>`."""

    usd: dict[str, Annotated[Decimal, Field(gt=0)]] = Field(min_length=1)
    """AWS region -> US dollars per machine and hour."""

    @property
    def instance_type(self) -> str:
        """The EC2 instance type."""
        return self.name.partition("@")[0]


class CompromisedRelease(Sourced):
    """A release known to carry malicious code."""

    package: str
    """Package or image name."""
    versions: frozenset[str]
    """Versions."""
    reason: str
    """What was wrong with it."""
