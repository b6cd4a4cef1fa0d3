"""What the supervisor starts for AWS: moto, and the gateway in front of it."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable

from headrace_sandbox.service import Kind, SandboxContext, Service


def services(context: SandboxContext) -> list[Service]:
    """moto and the gateway; only the gateway's URL is for callers."""
    moto_port, port = context.port("moto"), context.port("aws")
    moto_url, url = f"http://127.0.0.1:{moto_port}", f"http://127.0.0.1:{port}"
    directory = str(context.directory)
    python = (sys.executable, "-m")
    return [
        Service(
            name="moto",
            kind=Kind.STAND_IN,
            what="moto 5.2.5 with a journal: EC2, IAM, S3, KMS and most of AWS, in memory",
            argv=(
                *python,
                "headrace_sandbox.aws.moto_process",
                "--port",
                str(moto_port),
                "--directory",
                f"{directory}/aws",
            ),
            ready=_answers(f"{moto_url}/_sandbox/health", lambda _: True),
            ready_timeout_s=120.0,
        ),
        Service(
            name="aws",
            kind=Kind.STAND_IN,
            what="AWS gateway: checks calls against botocore's models, records what moto lacks (EKS, capacity, quotas)",
            argv=(*python, "headrace_sandbox.aws", "--port", str(port), "--moto", moto_url, "--directory", directory),
            ready=_answers(f"{url}/_sandbox/health", lambda body: bool(json.loads(body).get("ready"))),
            urls={"aws": url},
            after=("moto",),
        ),
    ]


def _answers(url: str, good: Callable[[bytes], bool]) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  a loopback URL made above
                return good(response.read())
        except (OSError, ValueError, urllib.error.URLError):
            return False

    return ready
