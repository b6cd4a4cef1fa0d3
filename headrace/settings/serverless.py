"""Serverless pools: RunPod endpoints and Modal apps, in one vocabulary."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from headrace.settings.base import Name, SettingsModel


class ServerlessProvider(StrEnum):
    """Who runs the overflow."""

    RUNPOD = "runpod"
    MODAL = "modal"


class WarmUpWindow(SettingsModel):
    """Minimum instances for hours of the week: `hours` counts from Monday 00:00 in `time_zone`, 0 to 167."""

    hours: list[int] = Field(min_length=1)
    min_instances: int = Field(ge=0)
    time_zone: str = "UTC"


class ServerlessPool(SettingsModel):
    """A serverless GPU endpoint that serves one workload."""

    provider: ServerlessProvider
    workload: Name
    gpu: str
    gpu_count: int = Field(default=1, ge=1)
    gpu_fallbacks: list[str] = Field(default_factory=list)
    min_instances: int = Field(ge=0)
    max_instances: int = Field(ge=1)
    concurrency_per_instance: int = Field(default=32, ge=1)
    idle_timeout_s: int = Field(default=60, ge=2, le=3600)
    execution_timeout_s: int = Field(default=600, ge=1)
    regions: list[str] = Field(default_factory=list)
    ingress_region: str | None = None
    warm_up: list[WarmUpWindow] = Field(default_factory=list)
    warm_up_lead_time_s: int = Field(default=900, ge=0)
