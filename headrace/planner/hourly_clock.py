"""When the hourly floor runs, and which hour it decides. Without numpy: the component that renders the job asks too.

Rises matter at the full hour, and a node needs its lead time, so a run comes that much before the hour (in steps of ten
minutes), and the hours of the policy are binned to end there: the decision rests on all that happened until now, and is
for the sixty minutes from now on, of which new nodes miss their lead time. Clock hours, the last of them cut short,
would be another way; what either costs is measured in docs/planner/hourly.md.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

_STEP_S: Final = 600


def minute_of(lead_time_s: float) -> int:
    """The minute at which the policy's hours begin: the lead time before the full hour, in steps of ten minutes."""
    return (60 - math.ceil(lead_time_s / _STEP_S) * (_STEP_S // 60)) % 60


def hour_of(now: datetime, lead_time_s: float) -> datetime:
    """When the hour began that `now` lies in."""
    start = now.astimezone(UTC).replace(minute=minute_of(lead_time_s), second=0, microsecond=0)
    return start if start <= now else start - timedelta(hours=1)
