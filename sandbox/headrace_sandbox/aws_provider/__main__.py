"""`python -m headrace_sandbox.aws_provider ENGINE_ADDRESS`: the plugin process."""

from __future__ import annotations

from headrace_sandbox.aws_provider.provider import AwsProvider
from headrace_sandbox.plugin.server import serve

if __name__ == "__main__":
    raise SystemExit(serve(AwsProvider()))
