"""What every row of the catalogue carries: where the number comes from and when somebody last looked."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict
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
