"""Where the control plane keeps its files, and which loopback ports its parts use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from headrace_sandbox.service import SandboxContext

KUBERNETES_VERSION = "v1.36.3"
"""Version of API server, controller manager and scheduler; go/kubernetes/go.mod pins the same (a test holds it)."""

SERVICE_CIDR = "172.20.0.0/16"
"""EKS gives clusters outside 10.0.0.0/8 ... 10.100.0.0/16 and the others 172.20.0.0/16 (EKS API reference,
KubernetesNetworkConfigRequest.serviceIpv4Cidr); our networks live in 10.0.0.0/8, so services get the second."""

SERVICE_ADDRESS = "172.20.0.1"
"""First address of `SERVICE_CIDR`: the `kubernetes` service."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Files under `<sandbox>/` and ports, all on 127.0.0.1."""

    directory: Path
    etcd_client: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int
    kwok: int
    authenticator: int
    nodes: int
    aws: int

    @property
    def home(self) -> Path:
        """Everything of the control plane but its logs."""
        return self.directory / "kubernetes"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.directory / "pki"

    @property
    def etcd_data(self) -> Path:
        """etcd's data: the cluster's memory, kept over restarts."""
        return self.home / "etcd"

    @property
    def audit_log(self) -> Path:
        """One JSON audit event a line."""
        return self.directory / "logs" / "kubernetes-audit.log"

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig (client certificate)."""
        return self.directory / "kubeconfig"

    @property
    def description(self) -> Path:
        """`{"url", "ca_pem_path"}`: what the AWS stand-in answers to DescribeCluster."""
        return self.directory / "kubernetes.json"

    @property
    def aws_credentials(self) -> Path:
        """Optional `{access key id: secret}` of test principals, for checking the signature of their tokens."""
        return self.directory / "aws-credentials.json"

    @property
    def api_url(self) -> str:
        """The API server."""
        return f"https://127.0.0.1:{self.api}"

    @property
    def aws_url(self) -> str:
        """The AWS stand-in."""
        return f"http://127.0.0.1:{self.aws}"

    def component_kubeconfig(self, component: str) -> Path:
        """The kubeconfig of one component, mode 0600."""
        return self.home / f"{component}.kubeconfig"


def layout(context: SandboxContext) -> Layout:
    """The layout of a sandbox. `HEADRACE_SANDBOX_DIR` has no say here: the context does."""
    return Layout(
        directory=context.directory.resolve(),
        etcd_client=context.port("etcd"),
        etcd_peer=context.port("etcd-peer"),
        api=context.port("kubernetes"),
        controller_manager=context.port("kube-controller-manager"),
        scheduler=context.port("kube-scheduler"),
        kwok=context.port("kwok"),
        authenticator=context.port("eks-authenticator"),
        nodes=context.port("eks-nodes"),
        aws=context.port("aws"),
    )


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file that only its owner may read, whole or not at all; an equal file is left alone."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)
