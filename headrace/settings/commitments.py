"""Money promised ahead, and how much of it is allowed."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Literal

from pydantic import Field

from headrace.settings.base import Name, SettingsModel, UsdPerHour, UsdPerMonth


class SavingsPlanKind(StrEnum):
    """What a savings plan covers."""

    COMPUTE = "compute"
    EC2_INSTANCE = "ec2-instance"


class SavingsPlan(SettingsModel):
    """A savings plan that the account has bought."""

    kind: SavingsPlanKind
    """Any compute, or one instance family in one region."""
    commitment_usd_per_hour: UsdPerHour
    """What is paid per hour, used or not."""
    term_years: Literal[1, 3]
    """Length of the term."""
    starts_on: date
    """First day of the term."""
    instance_family: str | None = None
    """Family of an EC2 instance plan, for instance p5."""


class ProviderContract(SettingsModel):
    """A contract with a minimum spend."""

    provider: Literal["aws", "runpod", "modal"]
    """With whom."""
    minimum_usd_per_month: UsdPerMonth
    """What is paid per month, used or not."""
    starts_on: date
    """First day."""
    ends_on: date
    """Last day."""
    notice_days: int = Field(default=30, ge=0)
    """Days before the end at which it must be cancelled."""


class Approval(SettingsModel):
    """Somebody's word that a purchase may happen."""

    ticket: str = Field(min_length=1)
    """Where it was decided."""
    approver: str = Field(min_length=1)
    """Who decided."""
    amount_usd: float = Field(gt=0, allow_inf_nan=False)
    """Most money over the whole term, in US dollars."""
    term_months: int = Field(ge=1, le=36)
    """Longest term in months."""
    expires_on: date
    """Last day on which it may be used."""


class CommitmentSettings(SettingsModel):
    """Commitments in force, what may be committed at most, and approvals for new ones."""

    savings_plans: dict[Name, SavingsPlan] = Field(default_factory=dict)
    """Savings plans in force."""
    contracts: dict[Name, ProviderContract] = Field(default_factory=dict)
    """Contracts in force."""
    max_committed_usd_per_month: UsdPerMonth | None = None
    """Most money that all commitments of the environment together may promise per month."""
    organization_cap_usd_per_month: UsdPerMonth | None = None
    """Most money that the whole organization may promise per month."""
    other_environments_usd_per_month: float = Field(default=0, ge=0, allow_inf_nan=False)
    """What the organization's other environments have promised per month, by finance's own count."""
    max_exit_usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Most money that leaving all commitments at once may cost."""
    max_term_months: int = Field(default=12, ge=1, le=36)
    """Longest term of a new commitment, in months."""
    approvals: dict[Name, Approval] = Field(default_factory=dict)
    """Approvals for purchases that this stack makes."""
