"""`python -m headrace_sandbox.aws --port N --moto URL --directory DIR`: the AWS gateway, on loopback."""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

from aiohttp import web

from headrace_sandbox.aws.gateway import application


def main() -> None:
    """Serve until SIGTERM."""
    options = argparse.ArgumentParser(
        description="One endpoint that behaves as AWS (a stand-in, for the Headrace sandbox)"
    )
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--moto", required=True, help="URL of the moto server")
    options.add_argument("--directory", type=Path, required=True, help="the sandbox's directory")
    chosen = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # moto's serializer warns of every error code that a service model doesn't declare; ours are deliberate.
    warnings.filterwarnings("ignore", message=".*does not match an error shape.*")
    web.run_app(application(chosen.directory, chosen.moto), host="127.0.0.1", port=chosen.port, print=None)


if __name__ == "__main__":
    main()
