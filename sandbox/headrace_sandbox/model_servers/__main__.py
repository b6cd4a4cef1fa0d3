"""`python -m headrace_sandbox.model_servers`: stand-ins for model servers, one pool or a fleet of them in one process.

One pool: `--port P --model NAME [--behaviour JSON]`. A fleet: `--fleet FILE` (see fleet.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

import uvloop
from aiohttp import web

from headrace_sandbox.model_servers import fleet
from headrace_sandbox.model_servers.application import ModelServer
from headrace_sandbox.model_servers.behaviour import Behaviour


def main() -> None:
    """Serve on 127.0.0.1 until stopped. The bearer token one pool asks for, if any, is in HEADRACE_MODEL_SERVER_KEY."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--model")
    parser.add_argument("--behaviour", default="{}", help="JSON of Behaviour's fields")
    parser.add_argument("--fleet", type=Path, help="several pools, described in a file")
    given = parser.parse_args()
    if given.fleet is not None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(fleet.serve(fleet.read(given.fleet)))
        return
    if given.port is None or given.model is None:
        parser.error("give --fleet, or --port and --model")
    server = ModelServer(
        Behaviour(**json.loads(given.behaviour)),
        model=given.model,
        key=os.environ.get("HEADRACE_MODEL_SERVER_KEY") or None,
    )
    web.run_app(
        server.application(),
        host="127.0.0.1",
        port=given.port,
        access_log=None,
        print=lambda *_: None,
        handler_cancellation=True,
    )


if __name__ == "__main__":
    main()
