"""Sets an endpoint's minimum workers to what this hour of the week asks for, a lead time ahead.

Runs as a Kubernetes CronJob every five minutes, with the standard library only, and compares before it changes
anything: a missed run, a deployment in the middle of a window or a change by hand is put right at the next run.

Environment: RUNPOD_REST_URL, RUNPOD_API_KEY, ENDPOINT_ID, SCHEDULE (JSON: minInstances, leadTimeS, windows of hours,
minInstances, timeZone). Exit code 0: the minimum is right; 1: it is not, and standard error says why in one line.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

TIMEOUT_S = 20


def wanted_minimum(schedule: Mapping[str, Any], now: datetime) -> int:
    """The minimum that holds at `now`: the most that any window asks for that is open, or opens within the lead
    time."""
    least = int(schedule["minInstances"])
    lead = int(schedule["leadTimeS"])
    # One moment in each hour until then: a window may be shorter than the lead time.
    moments = [now + timedelta(seconds=ahead) for ahead in (*range(0, lead, 3600), lead)]
    for window in schedule["windows"]:
        for moment in moments:
            local = moment.astimezone(ZoneInfo(window["timeZone"]))
            if local.weekday() * 24 + local.hour in window["hours"]:
                least = max(least, int(window["minInstances"]))
    return least


def call(method: str, url: str, key: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One request; the answer's object."""
    request = urllib.request.Request(  # noqa: S310 - the vendor's address from the stack
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json", "User-Agent": "headrace"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
        loaded: dict[str, Any] = json.loads(answer.read())
        return loaded


def main() -> int:
    """Compare, and change if need be."""
    url = f"{os.environ['RUNPOD_REST_URL'].rstrip('/')}/serverless/{os.environ['ENDPOINT_ID']}"
    key = os.environ["RUNPOD_API_KEY"]
    wanted = wanted_minimum(json.loads(os.environ["SCHEDULE"]), datetime.now(UTC))
    try:
        current = int(call("GET", url, key)["workers"]["min"])
        if current != wanted:
            call("PATCH", url, key, {"workers": {"min": wanted}})
    except (OSError, ValueError, KeyError) as error:
        status = f" {error.code}" if isinstance(error, urllib.error.HTTPError) else ""
        print(f"minimum workers were not set: {type(error).__name__}{status}", file=sys.stderr)
        return 1
    print(f"minimum workers: {wanted}" + ("" if current == wanted else f" (was {current})"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
