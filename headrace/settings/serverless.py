"""Serverless pools: RunPod endpoints and Modal apps, in one vocabulary."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from headrace.settings.base import Name, SettingsModel

HourOfWeek = Annotated[int, Field(ge=0, le=167)]


class ServerlessProvider(StrEnum):
    """Who runs the overflow."""

    RUNPOD = "runpod"
    MODAL = "modal"


class WarmUpWindow(SettingsModel):
    """Minimum instances for hours of the week: `hours` counts from Monday 00:00 in `time_zone`, 0 to 167."""

    hours: list[HourOfWeek] = Field(min_length=1)
    """Hours of the week, 0 (Monday 00:00) to 167 (Sunday 23:00)."""
    min_instances: int = Field(ge=0)
    """Least instances in those hours."""
    time_zone: str = "UTC"
    """IANA time zone."""


class ServerlessPool(SettingsModel):
    """A serverless GPU endpoint that serves one workload."""

    provider: ServerlessProvider
    """Who runs it."""
    workload: Name
    """The workload it serves."""
    release: Name | None = None
    """The release it runs; unset means its workload's. Another is a canary, with a share in `router.canaryPercent`."""
    gpu: str
    """GPU by the catalogue's name."""
    gpu_count: int = Field(default=1, ge=1)
    """GPUs of one instance."""
    gpu_fallbacks: list[str] = Field(default_factory=list)
    """GPUs to take where `gpu` is not free, in this order."""
    min_instances: int = Field(ge=0)
    """Instances that always run (and are always paid)."""
    max_instances: int = Field(ge=1)
    """Most instances."""
    concurrency_per_instance: int = Field(default=32, ge=1)
    """Requests that one instance works on at once."""
    idle_timeout_s: int = Field(default=60, ge=2, le=3600)
    """Seconds after which an idle instance stops; they are paid."""
    execution_timeout_s: int = Field(default=600, ge=1)
    """Seconds after which a request is cut off."""
    regions: list[str] = Field(default_factory=list)
    """Where it runs: RunPod data centres or Modal regions. Empty means anywhere."""
    ingress_region: str | None = None
    """Modal only: where requests enter. Unset means the vendor's default in the United States."""
    volume: str | None = None
    """Where the weights lie: id of a RunPod network volume or name of a Modal volume, each holding the release in a
    folder of its name. Unset: the stack makes one, and it is filled before the first request."""
    warm_up: list[WarmUpWindow] = Field(default_factory=list)
    """Hours of the week with more minimum instances."""
    warm_up_lead_time_s: int = Field(default=900, ge=0)
    """Seconds before a warm-up window at which minimum instances rise."""
