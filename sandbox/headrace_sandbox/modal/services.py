"""What the supervisor starts for Modal."""

from __future__ import annotations

import json
import sys
import urllib.request

from headrace_sandbox.service import Kind, SandboxContext, Service

TOKEN = "sandbox"  # noqa: S105 - opens nothing but the stand-in


def services(context: SandboxContext) -> list[Service]:
    """The stand-in: gRPC for the SDK, HTTP for its controls."""
    port, control = context.port("modal"), context.port("modal-control")
    url = f"http://127.0.0.1:{control}"

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/_sandbox/health", timeout=2) as response:  # noqa: S310 - our loopback URL
                return bool(json.loads(response.read()).get("ready"))
        except (OSError, ValueError):
            return False

    return [
        Service(
            name="modal",
            kind=Kind.STAND_IN,
            what="Modal's control plane on the SDK's own protocol definition",
            argv=(
                *(sys.executable, "-m", "headrace_sandbox.modal"),
                *("--port", str(port), "--control-port", str(control)),
            ),
            ready=ready,
            env={"MODAL_TOKEN_ID": TOKEN, "MODAL_TOKEN_SECRET": TOKEN},
            urls={"modal": f"http://127.0.0.1:{port}", "modal-control": url},
        )
    ]
