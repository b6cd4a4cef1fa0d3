"""What our own two processes share: their command line and their log."""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where the sandbox, the API server and the AWS stand-in are, and the port to serve on."""

    directory: Path
    port: int
    api: str
    aws: str

    @property
    def pki(self) -> Path:
        """The sandbox's certificates."""
        return self.directory / "pki"


def read_options(program: str) -> Options:
    """Parse the command line and set up logging to standard error (the supervisor's log file)."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api", required=True)
    parser.add_argument("--aws", required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs URLs, and a token's URL is a credential
    logging.getLogger("botocore").setLevel(logging.WARNING)
    return Options(directory=given.directory, port=given.port, api=given.api, aws=given.aws)
