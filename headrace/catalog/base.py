"""What every row of the catalogue carries: where the number comes from and when somebody last looked."""

from __future__ import annotations

from datetime import date
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel


class CatalogError(Exception):
    """The catalogue itself is wrong: a fault of ours that a test finds, not something a user can mend in settings."""


class Sourced(BaseModel):
    """A row with its provenance. `name` is its key in the file."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        defer_build=True,
    )

    name: str
    """The row's key."""
    source: str
    """Address or title of the page that says so."""
    checked: date
    """The day on which somebody compared the row with its source."""
    verified: bool = True
    """False where the number is inferred or the source could not be read in full; `note` says what is missing."""
    note: str | None = None
    """What the number can't express."""

    def age_days(self, today: date) -> int:
        """Days since the row was checked, on `today`."""
        return (today - self.checked).days


class Dated(Sourced):
    """A price that holds from a day on."""

    valid_from: date
    """First day of the price, or the day it was first seen."""
    valid_until: date | None = None
    """Last day of the price."""
    stale_after_days: int = Field(default=60, ge=1)
    """Days after which the row should be looked at again; a week for marketplaces."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_until is not None and self.valid_until < self.valid_from:
            raise ValueError("ends before it begins")
        return self

    def in_force(self, day: date) -> bool:
        """Whether the price holds on `day`."""
        return self.valid_from <= day and (self.valid_until is None or day <= self.valid_until)

    def stale(self, today: date) -> bool:
        """Whether nobody has looked at the source for longer than the row allows."""
        return self.age_days(today) > self.stale_after_days
