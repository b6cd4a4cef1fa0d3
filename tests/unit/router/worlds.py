"""Small configurations and states for the router's tests."""

from __future__ import annotations

import json
from typing import Any

from headrace.router import observe
from headrace.router.config import RouterConfig, from_json
from headrace.router.types import NANO, RequestFacts, State
from headrace.settings.releases import WorkloadClass

EU = ["EU"]


def pool(**over: Any) -> dict[str, Any]:
    """A floor of two servers with four slots each; keyword arguments are camelCase keys of the file."""
    return {
        "kind": "dedicated",
        "workload": "chat",
        "release": "r1",
        "releaseDigest": "sha256:" + "a" * 64,
        "url": "http://127.0.0.1:9/v1",
        "servedModel": "chat",
        "provider": "aws",
        "gpu": "L4",
        "gpusPerInstance": 1,
        "regions": ["eu-central-1"],
        "computeJurisdictions": EU,
        "ingressJurisdictions": EU,
        "storageJurisdictions": EU,
        "instances": 2,
        "slotsPerInstance": 4,
        "nanoUsdPerInstanceSecond": 200_000,
        "maxRequestTokens": 8192,
        **over,
    }


def overflow(**over: Any) -> dict[str, Any]:
    """A serverless pool of three instances with four slots each."""
    return pool(
        **{
            "kind": "serverless",
            "provider": "modal",
            "instances": 3,
            "coldStartS": 20,
            "idleTimeoutS": 60,
            "nanoUsdPerInstanceSecond": 300_000,
            **over,
        }
    )


def document(**over: Any) -> dict[str, Any]:
    """A whole configuration as it stands in the file."""
    return {
        "version": 1,
        "environment": "test",
        "region": "eu-central-1",
        "jurisdiction": "EU",
        "priceVersion": "2026-11-21/0",
        "pools": {"floor": pool(), "burst": overflow()},
        "workloads": {
            "chat": {
                "workloadClass": "latency-sensitive",
                "release": "r1",
                "allowedJurisdictions": EU,
                "timeToFirstTokenS": 1.0,
                "contextTokens": 4096,
            },
            "digest": {
                "workloadClass": "batch",
                "release": "r1",
                "allowedJurisdictions": EU,
                "contextTokens": 4096,
            },
        },
        "limits": {"budgetNanoUsd": 1000 * NANO},
        "tenants": {
            "search": {
                "limits": {"budgetNanoUsd": 500 * NANO},
                "projects": {"assistant": {"budgetNanoUsd": 100 * NANO, "requestsPerMinute": 10_000}},
            },
            "support": {"limits": {}, "projects": {"answers": {}}},
        },
        "spill": {"startAt": 0.85, "stopAt": 0.65, "minimumStayS": 30, "maxWaitS": 0.5, "signalMaxAgeS": 5},
        **over,
    }


def config(**over: Any) -> RouterConfig:
    """`document` read as the router reads it."""
    return from_json(json.dumps(document(**over)))


def state(policy: RouterConfig, *, now: float = 0.0) -> State:
    """A router that has just started and holds every limit alone."""
    return observe.initial(policy, now=now, period="2026-11", leases=policy.totals, accounts={})


def request(**over: Any) -> RequestFacts:
    """A short chat request of search/assistant."""
    return RequestFacts(
        **{
            "id": "q1",
            "tenant": "search",
            "project": "assistant",
            "environment": "test",
            "workload": "chat",
            "workload_class": WorkloadClass.LATENCY_SENSITIVE,
            "release": "r1",
            "prompt_tokens": 100,
            "prompt_tokens_bound": 400,
            "max_tokens": 100,
            **over,
        }
    )
