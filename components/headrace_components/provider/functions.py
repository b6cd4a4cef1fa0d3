"""Provider functions: what a program or a policy can ask."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from headrace.protocol.values import Props
from headrace_components.provider.fields import Field, Kind
from headrace_components.provider.resource import Call


class Function(ABC):
    """One function of the package."""

    urn_type: ClassVar[str]
    description: ClassVar[str]
    inputs: ClassVar[Mapping[str, Field]]
    outputs: ClassVar[Mapping[str, Field]]

    @abstractmethod
    async def call(self, call: Call, args: Props) -> Props:
        """The answer."""


class GetAccountLimits(Function):
    """The limits of an account beside what is used of them.

    RunPod's API v2 shows no limits (they stood in GraphQL, which is being retired), and Modal's never did. So limits
    come from Headrace's catalogue, with their source and date, and only use is live."""

    urn_type = "headrace:index:getAccountLimits"
    description = "What an account of a vendor may use by default (from the catalogue), and what is declared there now."
    inputs: ClassVar = {
        "vendor": Field(
            kind=Kind.STRING,
            required=True,
            enum={"runpod": "RunPod", "modal-starter": "Modal, Starter plan", "modal-team": "Modal, Team plan"},
            description="Whose account: `runpod`, `modal-starter` or `modal-team`.",
        )
    }
    outputs: ClassVar = {
        "spendUsdPerHour": Field(kind=Kind.NUMBER, description="Most spend of the account per hour, in US dollars."),
        "maxWorkersPerEndpoint": Field(kind=Kind.INTEGER, description="Most workers of a new endpoint by default."),
        "maxConcurrentGpus": Field(kind=Kind.INTEGER, description="Most GPUs at once."),
        "endpoints": Field(kind=Kind.INTEGER, description="Endpoints or deployed apps of the account now."),
        "maxWorkers": Field(kind=Kind.INTEGER, description="RunPod: sum of the maximum workers of all endpoints now."),
        "source": Field(kind=Kind.STRING, description="Where the limits were read."),
        "checked": Field(kind=Kind.STRING, description="When they were read (date)."),
    }

    async def call(self, call: Call, args: Props) -> Props:
        from headrace.catalog import load

        row = load.provider_limits()[str(args["vendor"])]
        limits: Props = {
            "spendUsdPerHour": None if row.spend_usd_per_hour is None else float(row.spend_usd_per_hour),
            "maxWorkersPerEndpoint": row.max_workers_per_endpoint,
            "maxConcurrentGpus": row.max_concurrent_gpus,
            "source": row.source,
            "checked": row.checked.isoformat(),
        }
        if args["vendor"] == "runpod":
            found = await call.vendors.runpod().list(call, "/serverless", "endpoints")
            limits |= {"endpoints": len(found), "maxWorkers": sum(int(one["workers"]["max"]) for one in found)}
        else:
            limits["endpoints"] = len(await asyncio.to_thread(call.vendors.modal().apps))
        return limits


FUNCTIONS: Mapping[str, Function] = {one.urn_type: one for one in (GetAccountLimits(),)}
