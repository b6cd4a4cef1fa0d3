"""A running control plane, as the tests of this folder see it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
import httpx

from headrace_sandbox.kubernetes.kube import Kube
from headrace_sandbox.kubernetes.layout import Layout
from headrace_sandbox.service import SandboxContext

T = TypeVar("T")
REGION = "eu-central-1"


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A running control plane: `kube` is an administrator's client."""

    context: SandboxContext
    at: Layout
    kube: Kube
    region: str = REGION

    def aws(self, service: str, *, access_key: str = "test") -> Any:
        """A boto3 client of the AWS stand-in."""
        # Through a session: the typed overloads of boto3.client want a literal name.
        session: Any = boto3.Session()
        return session.client(
            service,
            region_name=REGION,
            endpoint_url=self.at.aws_url,
            aws_access_key_id=access_key,
            aws_secret_access_key="test",
        )

    def environment(self, access_key: str = "test", secret_key: str | None = None) -> dict[str, str]:
        """What the sandbox sets for the engine, as one AWS principal."""
        return {
            "PATH": f"{self.context.bin}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": self.at.aws_url,
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key or "test",
        }

    def token(self, cluster: str, access_key: str = "test", secret_key: str | None = None) -> str:
        """A bearer token, made by the `aws` executable of the sandbox."""
        made = subprocess.run(
            ["aws", "eks", "get-token", "--cluster-name", cluster, "--output", "json"],
            env=self.environment(access_key, secret_key),
            check=True,
            capture_output=True,
            text=True,
        )
        token: str = json.loads(made.stdout)["status"]["token"]
        return token

    def as_token(self, token: str) -> httpx.Client:
        """A client of the API server with a bearer token and nothing else."""
        trust = ssl.create_default_context(cafile=str(self.at.pki / "ca.crt"))
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.at.api_url, verify=trust, headers=headers, trust_env=False)

    def namespace(self, name: str, **labels: str) -> str:
        """A new namespace whose default service account exists (pods are refused before); returns its path."""
        path = f"/api/v1/namespaces/{name}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.kube.create("/api/v1/namespaces", body)
        eventually(lambda: self.kube.get(f"{path}/serviceaccounts/default"), f"a service account in {name}")
        return path


def eventually(look: Callable[[], T | None], what: str | Callable[[], str], *, timeout_s: float = 180.0) -> T:
    """The first truthy answer of `look`, asked five times a second. `what` may say at the end what there is instead."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {timeout_s:.0f} s for {what if isinstance(what, str) else what()}")
