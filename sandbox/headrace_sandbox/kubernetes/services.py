"""The processes of the Kubernetes part of the sandbox, for the supervisor."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Final

from headrace_sandbox import environment, gobuild
from headrace_sandbox.kubernetes import commands, configuration, probes
from headrace_sandbox.kubernetes.layout import KUBERNETES_VERSION, Layout, layout
from headrace_sandbox.service import Kind, SandboxContext, Service

BINARIES: Final = ("etcd", "kubernetes", "kwok")
"""Modules for `gobuild.build`, quickest first."""


def services(context: SandboxContext) -> list[Service]:
    """All parts of the control plane. Builds the binaries that miss and writes certificates and configuration."""
    binaries = {module: gobuild.build(module) for module in BINARIES}
    at = layout(context)
    configuration.prepare(at, now=datetime.datetime.now(datetime.UTC))
    configuration.know_credentials(at, dict([environment.sandbox_credentials()]))
    install_aws_shim(context.bin)
    return [*_control_plane(at, binaries), *_eks(at)]


def _control_plane(at: Layout, binaries: dict[str, Path]) -> list[Service]:
    ca = at.pki / "ca.crt"
    return [
        Service(
            name="etcd",
            kind=Kind.REAL,
            what="etcd, one member, data kept over restarts",
            argv=commands.etcd(binaries["etcd"], at),
            env=commands.go_environment("etcd"),
            ready=probes.https(
                at.etcd_client,
                "/health",
                ca=ca,
                certificate=at.pki / "etcd-client.crt",
                key=at.pki / "etcd-client.key",
            ),
        ),
        Service(
            name="kube-apiserver",
            kind=Kind.REAL,
            what=f"Kubernetes API server {KUBERNETES_VERSION}: RBAC, admission, audit log, encrypted secrets",
            argv=commands.api_server(binaries["kubernetes"], at),
            env=commands.go_environment("kube-apiserver"),
            ready=probes.https(at.api, "/readyz", ca=ca),
            urls={"kubernetes": at.api_url},
            after=("etcd",),
            stop_timeout_s=15.0,
        ),
        Service(
            name="kube-controller-manager",
            kind=Kind.REAL,
            what=f"Kubernetes controllers {KUBERNETES_VERSION}",
            argv=commands.controller_manager(binaries["kubernetes"], at),
            env=commands.go_environment("kube-controller-manager"),
            ready=probes.https(at.controller_manager, "/healthz", ca=ca),
            after=("kube-apiserver",),
        ),
        Service(
            name="kube-scheduler",
            kind=Kind.REAL,
            what=f"Kubernetes scheduler {KUBERNETES_VERSION}",
            argv=commands.scheduler(binaries["kubernetes"], at),
            env=commands.go_environment("kube-scheduler"),
            ready=probes.https(at.scheduler, "/readyz", ca=ca),
            after=("kube-apiserver",),
        ),
        Service(
            name="kwok",
            kind=Kind.SIMULATED,
            what="KWOK: plays the kubelet of every node; pods run without containers",
            argv=commands.kwok(binaries["kwok"], at),
            env=commands.go_environment("kwok"),
            ready=probes.http_ok(at.kwok, "/healthz"),
            after=("kube-apiserver",),
        ),
    ]


def _eks(at: Layout) -> list[Service]:
    """Both wait by themselves for whom they need, so they start beside the rest: Python's imports are the slow part."""
    ca = at.pki / "ca.crt"
    return [
        Service(
            name="eks-authenticator",
            kind=Kind.STAND_IN,
            what="EKS authentication and access policies: IAM token -> access entry -> user and groups",
            argv=commands.authenticator(at),
            ready=probes.https(at.authenticator, "/healthz", ca=ca),
        ),
        Service(
            name="eks-nodes",
            kind=Kind.SIMULATED,
            what="EC2 behind managed node groups: nodes follow the groups' size, labels, taints and zones",
            argv=commands.nodes(at),
            ready=probes.http_ok(at.nodes, "/healthz"),
            urls={"node-groups": f"http://127.0.0.1:{at.nodes}/status"},
        ),
    ]


def install_aws_shim(folder: Path) -> Path:
    """Write the `aws` executable that answers `aws eks get-token` (see `aws_shim`), first on the engine's PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    shim = folder / "aws"
    # Through sh, because a kernel cuts a "#!" line at 127 bytes and a checkout's path may be longer.
    text = f"#!/bin/sh\nexec '{sys.executable}' -m headrace_sandbox.kubernetes.aws_shim \"$@\"\n"
    if not shim.is_file() or shim.read_text(encoding="utf-8") != text:
        beside = shim.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.chmod(0o755)
        beside.replace(shim)
    return shim
