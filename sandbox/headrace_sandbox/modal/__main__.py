"""`python -m headrace_sandbox.modal --port N --control-port M`: the stand-in for Modal, on loopback.

Accepts the token in MODAL_TOKEN_ID and MODAL_TOKEN_SECRET. The control port answers tests over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections import deque

from aiohttp import web
from grpclib.server import Server

from headrace_sandbox.modal.servicer import Workspace, make_servicer


def control(workspace: Workspace) -> web.Application:
    """Counts, faults and drift, for tests and for the supervisor."""
    app = web.Application()

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"ready": True, "standIn": "Modal gRPC"})

    async def calls(_request: web.Request) -> web.Response:
        return web.json_response({"calls": dict(workspace.calls), "writes": workspace.writes()})

    async def forget(_request: web.Request) -> web.Response:
        workspace.calls.clear()
        return web.Response(status=204)

    async def order(request: web.Request) -> web.Response:
        asked = await request.json()
        due = workspace.due.setdefault(asked["call"], deque())
        due.extend([asked["status"]] * int(asked.get("times", 1)))
        return web.Response(status=204)

    async def drift(request: web.Request) -> web.Response:
        """Somebody sets the autoscaler in the vendor's console."""
        asked = await request.json()
        function = workspace.function(request.match_info["name"], asked.pop("function", "serve"))
        for name, value in asked.items():
            setattr(function.override, name, value)
        return web.Response(status=204)

    app.router.add_get("/_sandbox/health", health)
    app.router.add_get("/_sandbox/calls", calls)
    app.router.add_delete("/_sandbox/calls", forget)
    app.router.add_post("/_sandbox/faults", order)
    app.router.add_patch("/_sandbox/apps/{name}", drift)
    return app


async def serve(port: int, control_port: int) -> None:
    """Serve until SIGTERM."""
    workspace = Workspace()
    token = os.environ["MODAL_TOKEN_ID"], os.environ["MODAL_TOKEN_SECRET"]
    server = Server([make_servicer(workspace, token)])
    await server.start("127.0.0.1", port)
    runner = web.AppRunner(control(workspace))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", control_port).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()
    await server.wait_closed()
    await runner.cleanup()


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description="A stand-in for Modal's control plane")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--control-port", type=int, required=True)
    chosen = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    asyncio.run(serve(chosen.port, chosen.control_port))


if __name__ == "__main__":
    main()
