"""Run the authenticator (`python -m headrace_sandbox.kubernetes.authenticator`, options in `daemon`)."""

from __future__ import annotations

from aiohttp import web

from headrace_sandbox.kubernetes.authenticator import server
from headrace_sandbox.kubernetes.authenticator.directory import Directory
from headrace_sandbox.kubernetes.daemon import Options, read_options
from headrace_sandbox.kubernetes.kube import Kube


def main(options: Options) -> None:
    """Serve until SIGTERM or SIGINT."""
    directory = Directory(options.aws, options.directory / "aws-credentials.json")
    roles = server.Roles(Kube.of(options.api, options.pki, "eks-authenticator"))
    webhook = server.Webhook(directory, roles, sts_endpoint=options.aws)
    web.run_app(
        server.application(webhook),
        host="127.0.0.1",
        port=options.port,
        ssl_context=server.tls(options.pki),
        print=None,
        access_log=None,
    )


if __name__ == "__main__":
    main(read_options("eks-authenticator"))
