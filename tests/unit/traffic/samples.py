"""A small replay in which everybody counted the same, for tests to spoil."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headrace.router.config import RouterConfig
from headrace.traffic.account import Snapshot
from headrace.traffic.client import Seen
from headrace.traffic.day import Ask, Pace
from headrace.traffic.ledger import Row
from tests.unit.router.worlds import config

PACE = Pace(prefill_tokens_s=4000.0, token_s=0.05)
START_S = 1_790_000_000.0
SECONDS = 240.0


def policy(**over: Any) -> RouterConfig:
    """The router tests' configuration."""
    return config(**over)


def paces(of: RouterConfig) -> dict[str, Pace]:
    return dict.fromkeys(of.pools, PACE)


CALLERS = {("search", "assistant"): None, ("support", "answers"): None}


def ask(**over: Any) -> Ask:
    values: dict[str, Any] = {
        "at_s": 10.0,
        "tenant": "search",
        "project": "assistant",
        "user": "u",
        "workload": "chat",
        "endpoint": "chat.completions",
        "stream": True,
        "tokens_in": 100,
        "max_tokens": 50,
        "answer_tokens": 20,
        "text_seed": 1,
    }
    return Ask(**{**values, **over})


def seen(identifier: str, **over: Any) -> Seen:
    values: dict[str, Any] = {
        "ask": ask(),
        "status": 200,
        "id": identifier,
        "pool": "floor",
        "first_s": 0.2,
        "total_s": 1.2,
        "tokens_out": 20,
        "code": "",
        "complete": True,
        "left": False,
        "error": "",
        "late_s": 0.0,
    }
    return Seen(**{**values, **over})


def row(identifier: str, **over: Any) -> Row:
    values: dict[str, Any] = {
        "writer": "router-0",
        "request_id": identifier,
        "at_s": START_S + 11.2,
        "tenant": "search",
        "project": "assistant",
        "model": "chat",
        "pool": "floor",
        "reason": "floor-free",
        "spilled": False,
        "cold": False,
        "outcome": "ok",
        "status": 200,
        "tokens_in": 100,
        "tokens_out": 20,
        "wait_s": 0.0,
        "first_token_s": 0.2,
        "latency_s": 1.2,
        "cost_nano": 1000,
    }
    return Row(**{**values, **over})


@dataclass
class Replay:
    """Three requests: one on the floor, one that spilled, one refused; and one start ahead."""

    policy: RouterConfig = field(default_factory=policy)
    seen: list[Seen] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    overhead: list[tuple[str, int]] = field(default_factory=lambda: [("burst", 500)])
    metrics: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(default_factory=dict)
    accounts: dict[str, dict[str, int]] = field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = [
            seen("a"),
            seen("b", pool="burst"),
            seen("c", status=429, pool="", tokens_out=None, code="rate_limited", complete=False),
        ]
        self.rows = [
            row("a"),
            row("b", pool="burst", reason="spill-full", spilled=True, cold=True, cost_nano=3000),
            row("c", pool="", reason="", outcome="rate_limited", status=429, tokens_in=0, tokens_out=0, cost_nano=0),
        ]
        self.metrics = {
            series("headrace_requests_total", pool="floor", status="200", workload="chat"): 1,
            series("headrace_requests_total", pool="burst", status="200", workload="chat"): 1,
            series("headrace_requests_total", pool="-", status="429", workload="chat"): 1,
            series("headrace_spills_total", pool="burst", reason="spill-full"): 1,
            series("headrace_cold_starts_total", pool="burst"): 1,
        }
        spent = {"spentNano": 4000, "reservedNano": 0}
        self.accounts = {
            "environment": {"spentNano": 4500, "reservedNano": 0},
            "tenant/search": dict(spent),
            "project/search/assistant": dict(spent),
        }
        self.servers = {
            "floor": {"tokensOut": 20, "billedSeconds": 480.0, "coldStarts": 0},
            "burst": {"tokensOut": 21, "billedSeconds": 70.0, "committedSeconds": 20.0, "coldStarts": 1},
        }

    @property
    def before(self) -> Snapshot:
        return Snapshot(metrics={}, accounts={}, servers={})

    @property
    def after(self) -> Snapshot:
        return Snapshot(metrics=self.metrics, accounts=self.accounts, servers=self.servers)


def series(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())
