"""A Prometheus range query as traffic, in pieces: a server answers at most 11,000 points for a series at once.

`http://HOST/api/v1/query_range?query=…&start=…&end=…&step=10`: start and end as Unix seconds or RFC 3339, the step as
seconds or a duration (`30s`, `1m`), as https://prometheus.io/docs/prometheus/latest/querying/api/ has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import httpx

from headrace.errors import Refused, refuse
from headrace.planner.ledger import public
from headrace.planner.sources import Kind, Source, prometheus_frame

MOST_POINTS: Final = 10_000
# A year at ten seconds is 316 pieces; more is a typing error.
MOST_PIECES: Final = 1_000
TIMEOUT_S: Final = 60.0
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdw])")


def prometheus(url: str) -> Source:
    """All series of the answer, summed."""
    shown = public(url)
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    lacking = [name for name in ("query", "start", "end", "step") if name not in asked]
    if lacking or parts.scheme not in ("http", "https"):
        raise refuse(
            "TRAFFIC",
            shown,
            f"lacks {', '.join(lacking)} in its query" if lacking else "is neither a database's address nor HTTP",
            next_step="give http://HOST/api/v1/query_range?query=…&start=…&end=…&step=10",
        )
    target = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    series: list[object] = []
    with httpx.Client(timeout=TIMEOUT_S) as client:
        for start, end in _pieces(asked, shown):
            series += _ask(client, target, {**asked, "start": repr(start), "end": repr(end)}, shown)
    try:
        frame = prometheus_frame({"data": {"resultType": "matrix", "result": series}})
    except (ValueError, KeyError, TypeError):
        raise refuse(
            "TRAFFIC", shown, "has no value in that time", next_step="check the metric's name and the time range"
        ) from None
    return Source(path=Path("prometheus"), kind=Kind.PROMETHEUS, columns={}, frame=frame)


def _pieces(asked: Mapping[str, str], shown: str) -> Iterator[tuple[float, float]]:
    """Start and end of each piece; both ends are answered, so that the next piece begins a step later."""
    start, end, step = _moment(asked["start"], shown), _moment(asked["end"], shown), _seconds(asked["step"], shown)
    points = int((end - start) / step) + 1
    if end < start or points > MOST_PIECES * MOST_POINTS:
        raise refuse(
            "TRAFFIC",
            shown,
            "ends before it starts" if end < start else f"asks for {points:,} points",
            next_step="check start, end and step",
        )
    for first in range(0, points, MOST_POINTS):
        yield start + first * step, start + (min(first + MOST_POINTS, points) - 1) * step


def _moment(text: str, shown: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise refuse(
            "TRAFFIC", shown, f"has the time {text!r}", next_step="give Unix seconds or 2026-10-05T00:00:00Z"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _seconds(text: str, shown: str) -> float:
    found = _DURATION.findall(text)
    if found and "".join(number + unit for number, unit in found) == text:
        seconds = sum(int(number) * _UNIT_S[unit] for number, unit in found)
    else:
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise refuse("TRAFFIC", shown, f"has the step {text!r}", next_step="give seconds, 30s or 1m")
    return seconds


def _ask(client: httpx.Client, target: str, query: Mapping[str, str], shown: str) -> list[object]:
    try:
        answer = client.get(target, params=query)
        document: Any = answer.json()
    except httpx.HTTPError as error:  # its text may quote the address with the password
        raise _silent(shown, f"can't be reached ({type(error).__name__})") from None
    except ValueError:
        raise _silent(shown, f"answered {answer.status_code} without JSON") from None
    if not isinstance(document, dict) or document.get("status") != "success":
        said = document.get("error") if isinstance(document, dict) else None
        raise _silent(shown, f"answered {answer.status_code}: {said or 'no result'}")
    data = document.get("data")
    if not isinstance(data, dict) or data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        raise _silent(shown, "didn't answer with a matrix")
    result: list[object] = data["result"]
    return result


def _silent(shown: str, rule: str) -> Refused:
    return refuse("TRAFFIC", shown, rule, next_step="try the address in a browser")
