"""`python -m headrace_sandbox.kubernetes_provider ENGINE_ADDRESS`: the plugin process."""

from __future__ import annotations

import sys

from headrace_sandbox.kubernetes_provider.provider import KubernetesProvider
from headrace_sandbox.plugin.server import serve

if __name__ == "__main__":
    sys.exit(serve(KubernetesProvider()))
