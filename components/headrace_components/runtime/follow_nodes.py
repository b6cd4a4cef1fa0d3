"""Keeps as many model servers as a pool's nodes hold.

Schedules, an hourly floor or somebody's hand change the nodes of a pool; its Deployment must follow, or a new node
serves nobody and is paid for. Runs as a pod beside the model servers, with the standard library only. It compares and
sets, again and again, so it doesn't matter who changed the nodes, when, or whether it was up then.

Every node object counts, also one that is being drained: its model servers wait for a place until the node is gone, and
those are the ones that Kubernetes takes away first. Counting it out early would take one that serves.

Environment: POOL_SELECTOR (label selector of the nodes), NAMESPACE, DEPLOYMENT, REPLICAS_PER_NODE; EVERY_S,
KUBERNETES_URL and ACCOUNT_DIRECTORY (token and certificate) have defaults. Ends with exit code 1 when nothing could be
read or set for `PATIENCE_S`, so that the kubelet starts it again and somebody sees it.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
TIMEOUT_S = 10
PATIENCE_S = 300


class Cluster:
    """The Kubernetes API with the pod's own identity; the token is read each time, because it is renewed."""

    def __init__(self, url: str, account: Path) -> None:
        self._url = url.rstrip("/")
        self._account = account

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request; the answer's object."""
        request = urllib.request.Request(  # noqa: S310 - the cluster's own address
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {(self._account / 'token').read_text(encoding='ascii').strip()}",
                "Content-Type": "application/merge-patch+json",
                "Accept": "application/json",
                "User-Agent": "headrace",
            },
        )
        context = ssl.create_default_context(cafile=str(self._account / "ca.crt"))
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310 - as above
            loaded: dict[str, Any] = json.loads(answer.read())
            return loaded


def follow(cluster: Cluster, selector: str, deployment: str, per_node: int) -> tuple[int, int]:
    """Compare, and set if need be: (model servers asked for before, and now). `deployment` is the path of its scale."""
    # From the API server's cache: a list that is a moment old is old for a moment.
    query = urllib.parse.urlencode({"labelSelector": selector, "resourceVersion": "0"})
    nodes = len(cluster.call("GET", f"/api/v1/nodes?{query}")["items"])
    before = int(cluster.call("GET", deployment)["spec"].get("replicas", 0))
    wanted = nodes * per_node
    if wanted != before:
        cluster.call("PATCH", deployment, {"spec": {"replicas": wanted}})
    return before, wanted


def main() -> int:
    """Until stopped, or until nothing works."""
    environment = os.environ
    cluster = Cluster(
        environment.get("KUBERNETES_URL", "https://kubernetes.default.svc"),
        Path(environment.get("ACCOUNT_DIRECTORY", ACCOUNT)),
    )
    scale = f"/apis/apps/v1/namespaces/{environment['NAMESPACE']}/deployments/{environment['DEPLOYMENT']}/scale"
    every, worked = float(environment.get("EVERY_S", "15")), time.monotonic()
    while time.monotonic() - worked < PATIENCE_S:
        try:
            before, now = follow(cluster, environment["POOL_SELECTOR"], scale, int(environment["REPLICAS_PER_NODE"]))
        except (OSError, ValueError, KeyError) as error:
            status = f" {error.code}" if isinstance(error, urllib.error.HTTPError) else ""
            print(f"model servers were not compared: {type(error).__name__}{status}", file=sys.stderr, flush=True)
        else:
            worked = time.monotonic()
            if before != now:
                print(f"model servers: {now} (was {before})", flush=True)
        time.sleep(every)
    return 1


if __name__ == "__main__":
    sys.exit(main())
