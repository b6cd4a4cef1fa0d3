"""Health, metrics and state, on a port of their own that callers can't reach."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final

from aiohttp import web

from headrace.router.turn import Services

_JSON: Final = "application/json"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Admin:
    """Handler of the admin port. `ready` says why the router should get no requests, or None; `behind`, how many
    records the sink lacks."""

    def __init__(self, services: Services, *, ready: Callable[[], str | None], behind: Callable[[], int]) -> None:
        self._services = services
        self._ready = ready
        self._behind = behind

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Liveness, readiness, metrics, state."""
        path = request.raw_path.partition("?")[0]
        if request.method != "GET":
            return web.Response(status=405)
        if path == "/livez":
            return web.Response(text="alive\n")
        if path == "/readyz":
            why = self._ready()
            return web.Response(status=200 if why is None else 503, text=f"{why or 'ready'}\n")
        if path == "/metrics":
            services = self._services
            scrape = services.metrics.scrape(services.engine, services.journal, behind=self._behind())
            text = await asyncio.to_thread(scrape.text)
            return web.Response(body=text, headers={"Content-Type": _PROMETHEUS})
        if path == "/state":
            return web.Response(body=self._state(), headers={"Content-Type": _JSON})
        return web.Response(status=404)

    def _state(self) -> bytes:
        engine = self._services.engine
        pools = {
            name: {
                "inFlight": view.in_flight,
                "waiting": engine.waiting_for(name),
                "phase": view.phase.value,
                "circuit": view.circuit.value,
            }
            for name, view in engine.state.pools.items()
        }
        accounts = {
            scope: {"spentNano": account.spent, "reservedNano": account.reserved, "parallel": account.parallel}
            for scope, account in engine.state.accounts.items()
        }
        return json.dumps(
            {
                "period": engine.state.period,
                "policyVersion": engine.policy.policy_version,
                "pools": pools,
                "accounts": accounts,
                "leases": dict(engine.state.leases),
            }
        ).encode()
