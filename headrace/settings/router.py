"""The router: how many, when it spills, and what it may spend."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from headrace.settings.base import ImageByDigest, Name, Percent, SettingsModel, UsdPerHour


class RouterEngine(StrEnum):
    """What carries the decision: our own server, or the LiteLLM proxy with our plug-in."""

    HEADRACE = "headrace"
    LITELLM = "litellm"


class SpillSettings(SettingsModel):
    """When work leaves the floor and when it comes back. Two thresholds and a minimum stay keep it from flapping."""

    start_at_percent: Percent = 85
    """Share of the floor's slots in use at which spilling starts."""
    stop_at_percent: Percent = 65
    """Share at which it stops; lower than the start."""
    minimum_stay_s: int = Field(default=30, ge=1)
    """Seconds that a phase lasts at least."""
    max_wait_ms: int = Field(default=500, ge=0)
    """Longest a latency-sensitive request may wait for the floor before it spills."""
    signal_max_age_s: float = Field(default=5, gt=0, allow_inf_nan=False)
    """Age in seconds from which on a scraped signal counts as unknown."""
    start_ahead: bool = True
    """Whether a serverless instance is started, and paid, as soon as the floor fills up, before work waits for it."""


class BreakerSettings(SettingsModel):
    """When a pool is left alone because it fails."""

    failures_in_a_row: int = Field(default=5, ge=1)
    """Failures in a row that open the circuit."""
    failure_percent: Percent = 50
    """Share of failures in the last minute that opens it."""
    minimum_sample: int = Field(default=20, ge=1)
    """Least answers in that minute."""
    open_s: float = Field(default=5, gt=0, le=60)
    """Seconds until the first probe; doubles with each failed probe, up to a minute."""


class CallerBreakerSettings(SettingsModel):
    """When one caller is stopped because it repeats itself, storms or abandons what it asked for."""

    repeats: int = Field(default=20, ge=2)
    """Same or nearly same requests within the window that stop it."""
    window_s: float = Field(default=60, gt=0, le=3600)
    """Length of the window in seconds."""
    retries: int = Field(default=30, ge=2)
    """Failed answers within the window, while the caller goes on, that count as a retry storm."""
    abandoned: int = Field(default=30, ge=2)
    """Abandoned streams within the window that stop it."""
    open_s: float = Field(default=30, gt=0, le=3600)
    """Seconds that the caller is answered 429."""


class ApiKey(SettingsModel):
    """Whom an API key belongs to. Only its hash is here; `headrace router key` makes both."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the key."""
    tenant: Name
    """Its tenant."""
    project: Name
    """Its project."""
    workloads: list[Name] = Field(default_factory=list)
    """Workloads that it may use; none named means all."""
    feature: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    """Feature that its requests are for where they don't say."""
    disabled: bool = False
    """Whether it is turned off."""


KeyId = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9-]{1,40}$")]


class RouterSettings(SettingsModel):
    """Replicas, spill thresholds and spend ceilings of the router."""

    engine: RouterEngine = RouterEngine.HEADRACE
    """What carries the decision, and what the pods run; the image has to have it (docs/router/litellm.md)."""
    image: ImageByDigest | None = None
    """Container image of the router, by digest (images/router/Dockerfile); unset means that none is deployed."""
    min_replicas: int = Field(default=2, ge=1)
    """Least replicas, spread over zones."""
    max_replicas: int = Field(default=6, ge=1)
    """Most replicas."""
    in_flight_per_replica: int | None = Field(default=None, ge=1)
    """Requests in flight per replica at which replicas are added, beside CPU. Set it only where an adapter serves them
    as a custom metric (docs/components/router.md): without one no replica is ever taken away. Unset means CPU alone."""
    instance_type: str = Field(default="m7i.xlarge", pattern=r"^[a-z][a-z0-9-]*\.(\d*x)?large$")
    """Machines of the router, in the subnets that have egress."""
    journal_gib: int = Field(default=20, ge=1)
    """Size of each replica's journal volume in GiB at the router's first deployment; later they grow by hand
    (docs/components/router.md)."""
    certificate_arn: str | None = Field(
        default=None, pattern=r"^arn:aws(-[a-z]+)*:acm:[a-z0-9-]+:\d{12}:certificate/.+$"
    )
    """ACM certificate of the load balancer; unset means plain HTTP inside the network."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9.-]+(:\d{1,5})?(/\S*)?$")
    """Collector of traces (OTLP over HTTP), such as http://collector.monitoring:4318: a service in a namespace with the
    label `headrace.dev/role: monitoring`, or a public HTTPS address on port 443. Unset means no traces."""
    api_keys: dict[KeyId, ApiKey] = Field(default_factory=dict)
    """Keys by the name that records show."""
    price_date: date | None = None
    """Day whose prices hold; unset means the newest day of the catalogue."""
    spill: SpillSettings = SpillSettings()
    """When work leaves the floor."""
    breaker: BreakerSettings = BreakerSettings()
    """When a pool is left alone."""
    caller_breaker: CallerBreakerSettings = CallerBreakerSettings()
    """When a caller is stopped."""
    spend_ceiling_usd_per_hour: UsdPerHour | None = None
    """Most that all serverless pools together may cost per hour; beyond it nothing spills."""
    pool_spend_ceilings_usd_per_hour: dict[Name, UsdPerHour] = Field(default_factory=dict)
    """Serverless pool -> most it may cost per hour."""
    canary_percent: dict[Name, dict[Name, Percent]] = Field(default_factory=dict)
    """Workload -> release -> share of conversations, in percent, that run it instead of the workload's own. A pool of
    the workload names it as its `release`; a share of 0 keeps it for those who ask for it by name."""
    proof_of_concept_percent: Percent | None = None
    """Share of traffic that takes the serverless pools at all, for a proof of concept; unset means all that spills."""
    retry_budget_percent: Percent = 10
    """Retries in percent of requests, before the first byte."""
    max_request_kib: int = Field(default=2048, ge=1)
    """Largest request body in KiB."""
    drain_timeout_s: int = Field(default=120, ge=1)
    """Seconds that a stopping replica gives its streams."""

    @property
    def traces_stay_inside(self) -> bool:
        """Whether the collector of traces is a service of the cluster: a name without a public suffix."""
        host = urlsplit(self.otlp_endpoint or "").hostname or ""
        return bool(host) and (host.count(".") <= 1 or host.endswith((".svc", ".cluster.local")))
