"""`python -m headrace_sandbox.model_servers --port P --model NAME [--behaviour JSON]`: one pool's stand-in."""

from __future__ import annotations

import argparse
import json
import os

from aiohttp import web

from headrace_sandbox.model_servers.application import ModelServer
from headrace_sandbox.model_servers.behaviour import Behaviour


def main() -> None:
    """Serve on 127.0.0.1 until stopped. The bearer token it asks for, if any, is in HEADRACE_MODEL_SERVER_KEY."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--behaviour", default="{}", help="JSON of Behaviour's fields")
    given = parser.parse_args()
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
