"""`python -m headrace_sandbox.runpod --port N [--directory DIR]`: the stand-in for RunPod, on loopback.

The key that it accepts comes from RUNPOD_API_KEY.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from aiohttp import web

from headrace_sandbox.runpod.application import StandIn
from headrace_sandbox.runpod.schema import Schemas


def main() -> None:
    """Serve until SIGTERM."""
    options = argparse.ArgumentParser(description="A stand-in for RunPod's REST API v2 and job plane")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--directory", type=Path)
    chosen = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    schemas = Schemas.load()
    logging.info("vendor's schemas: %s", schemas.version if schemas else "not available, requests are not checked")
    stand_in = StandIn(
        api_key=os.environ["RUNPOD_API_KEY"],
        schemas=schemas,
        file=chosen.directory / "account.json" if chosen.directory else None,
    )
    web.run_app(stand_in.application(), host="127.0.0.1", port=chosen.port, print=None, shutdown_timeout=2.0)


if __name__ == "__main__":
    main()
