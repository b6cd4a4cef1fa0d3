"""Run the node controller (`python -m headrace_sandbox.kubernetes.nodes`, options in `daemon`).

`/healthz` answers 200 while the last pass is recent; `/status` shows every group with its health as JSON.
"""

from __future__ import annotations

import dataclasses
import datetime
import http
import json
import logging
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from headrace_sandbox.kubernetes.aws_clients import AwsClients
from headrace_sandbox.kubernetes.daemon import Options, read_options
from headrace_sandbox.kubernetes.kube import Kube, KubeError
from headrace_sandbox.kubernetes.nodes.balancers import Balancers
from headrace_sandbox.kubernetes.nodes.cloud import Cloud
from headrace_sandbox.kubernetes.nodes.controller import Controller

log = logging.getLogger("headrace_sandbox.kubernetes.nodes")

PERIOD_S: Final = 1.0
_STALE_S: Final = 60.0


class Loop:
    """Passes of the controller in the main thread; the status page reads what the last one left."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.stopping = threading.Event()
        self.finished_at = time.monotonic()
        self.problem = ""

    def run(self) -> None:
        """Until told to stop. A side that can't be reached is waited for; nothing is concluded from its silence."""
        while not self.stopping.is_set():
            try:
                self.controller.turn(datetime.datetime.now(datetime.UTC))
            except (BotoCoreError, ClientError, KubeError) as error:
                if str(error) != self.problem:
                    log.warning("waiting: %s", error)
                self.problem = str(error)
            else:
                if self.problem:
                    log.info("going on")
                self.problem = ""
            self.finished_at = time.monotonic()
            self.stopping.wait(PERIOD_S)

    def status(self) -> dict[str, object]:
        """The status page."""
        groups = {arn: dataclasses.asdict(state) for arn, state in self.controller.states.items()}
        return {"groups": groups, "unserved": self.controller.unserved, "waiting_for": self.problem}

    def healthy(self) -> bool:
        """Whether passes still happen; one that waits for AWS or Kubernetes counts."""
        return time.monotonic() - self.finished_at < _STALE_S


def page(loop: Loop) -> type[BaseHTTPRequestHandler]:
    """The handler of the two pages."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer /healthz and /status."""
            if self.path == "/healthz":
                healthy = loop.healthy()
                self._answer(
                    http.HTTPStatus.OK if healthy else http.HTTPStatus.SERVICE_UNAVAILABLE, "ok" if healthy else "stuck"
                )
            elif self.path == "/status":
                self._answer(http.HTTPStatus.OK, json.dumps(loop.status(), indent=2))
            else:
                self._answer(http.HTTPStatus.NOT_FOUND, "/healthz and /status are here")

        def _answer(self, status: http.HTTPStatus, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes are not worth a line."""

    return Page


def main(options: Options) -> None:
    """Serve until SIGTERM or SIGINT."""
    kube = Kube.of(options.api, options.pki, "eks-nodes")
    balancers = Balancers(kube=kube, aws=AwsClients(options.aws))
    loop = Loop(Controller(kube=kube, cloud=Cloud(options.aws), balancers=balancers))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stopping.set())
    server = ThreadingHTTPServer(("127.0.0.1", options.port), page(loop))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    loop.run()
    server.shutdown()


if __name__ == "__main__":
    main(read_options("eks-nodes"))
