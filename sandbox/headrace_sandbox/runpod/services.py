"""What the supervisor starts for RunPod."""

from __future__ import annotations

import json
import sys
import urllib.request

from headrace_sandbox import cache
from headrace_sandbox.runpod import schema
from headrace_sandbox.service import Kind, SandboxContext, Service

KEY = "sandbox"


def services(context: SandboxContext) -> list[Service]:
    """The stand-in. Without the vendor's schemas it still serves, and says that it does not check requests."""
    port = context.port("runpod")
    url = f"http://127.0.0.1:{port}"
    try:
        checked = f"requests checked against the schemas of {schema.PACKAGE} {schema.ensure().stem}"
    except schema.Unavailable as why:
        checked = "schema not available, requests are not checked"
        cache.say(f"RunPod stand-in: the vendor's schemas are not available ({why}); requests are not checked")

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/_sandbox/health", timeout=2) as response:  # noqa: S310 - our loopback URL
                return bool(json.loads(response.read()).get("ready"))
        except (OSError, ValueError):
            return False

    return [
        Service(
            name="runpod",
            kind=Kind.STAND_IN,
            what=f"RunPod's REST API v2 and job plane ({checked})",
            argv=(
                *(sys.executable, "-m", "headrace_sandbox.runpod"),
                *("--port", str(port), "--directory", str(context.directory / "runpod")),
            ),
            ready=ready,
            env={"RUNPOD_API_KEY": KEY},
            urls={"runpod": f"{url}/v2", "runpod-jobs": f"{url}/jobs/v2"},
        )
    ]
