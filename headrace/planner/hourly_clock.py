"""When the hourly floor runs, and which hour it decides. Without numpy: the component that renders the job asks too.

A node needs its lead time. A run comes that much before the full hour (in steps of ten minutes), and the hours of the
policy are binned to end there: the decision rests on all that happened until now, and is for the sixty minutes from now
on, of which new nodes miss their lead time. So they stand when the hour begins, at which people's days begin too. On
traces without such steps it costs 0.3 % more than to decide at the full hour (docs/planner/hourly.md); a lead time of 0
does that.
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
