"""What a rule says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is where a rule is broken."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Status(StrEnum):
    """Broken, or not to be told from what is known. The second blocks like the first."""

    VIOLATION = "violation"
    UNDECIDABLE = "undecidable"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong (or can't be told) with one resource. `sentence` says what, `remediation` what to do."""

    rule: str
    severity: Severity
    status: Status
    resource: str
    sentence: str
    remediation: str
