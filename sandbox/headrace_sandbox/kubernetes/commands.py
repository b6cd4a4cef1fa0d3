"""The argument vectors of the control plane's processes. Secrets are named by file, never by value."""

from __future__ import annotations

import sys
from pathlib import Path

from headrace_sandbox.kubernetes.layout import SERVICE_CIDR, Layout

MEMORY_LIMITS_MIB = {
    "etcd": 192,
    "kube-apiserver": 384,
    "kube-controller-manager": 160,
    "kube-scheduler": 96,
    "kwok": 96,
}
"""Soft limits (GOMEMLIMIT): near one, Go's collector works harder; nothing is refused or killed."""


def go_environment(component: str) -> dict[str, str]:
    """Collect garbage earlier than by default: a small heap matters more here than throughput."""
    return {"GOGC": "50", "GOMEMLIMIT": f"{MEMORY_LIMITS_MIB[component]}MiB"}


def etcd(binary: Path, at: Layout) -> tuple[str, ...]:
    """One member, on loopback, with client certificates required on both ports."""
    client, peer = f"https://127.0.0.1:{at.etcd_client}", f"https://127.0.0.1:{at.etcd_peer}"
    certificate, key, ca = (str(at.pki / name) for name in ("etcd.crt", "etcd.key", "ca.crt"))
    return (
        str(binary),
        "--name=sandbox",
        f"--data-dir={at.etcd_data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=sandbox={peer}",
        f"--cert-file={certificate}",
        f"--key-file={key}",
        f"--trusted-ca-file={ca}",
        "--client-cert-auth",
        f"--peer-cert-file={certificate}",
        f"--peer-key-file={key}",
        f"--peer-trusted-ca-file={ca}",
        "--peer-client-cert-auth",
        "--snapshot-count=2000",  # the raft log stays in memory between snapshots; the default of 10,000 costs ~50 MB
        "--auto-compaction-retention=0",  # the API server compacts
        "--log-level=warn",
    )


def api_server(binary: Path, at: Layout) -> tuple[str, ...]:
    """kube-apiserver with the default admission plugins (PodSecurity, ResourceQuota, LimitRanger, ...)."""
    pki, home = at.pki, at.home
    return (
        str(binary),
        "kube-apiserver",
        "--bind-address=127.0.0.1",
        f"--secure-port={at.api}",
        # A loopback address may not be an endpoint of the `kubernetes` service, so none is published.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
        f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
        f"--etcd-servers=https://127.0.0.1:{at.etcd_client}",
        f"--etcd-cafile={pki / 'ca.crt'}",
        f"--etcd-certfile={pki / 'etcd-client.crt'}",
        f"--etcd-keyfile={pki / 'etcd-client.key'}",
        f"--encryption-provider-config={home / 'encryption.json'}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--authentication-config={home / 'authentication.json'}",
        f"--authentication-token-webhook-config-file={home / 'authentication-webhook.kubeconfig'}",
        "--authentication-token-webhook-version=v1",
        "--authentication-token-webhook-cache-ttl=5s",  # 2 min by default: a revoked access entry must soon count
        f"--authorization-config={home / 'authorization.json'}",
        "--enable-admission-plugins=PodSecurity,ResourceQuota,LimitRanger",  # on by default; relied on
        f"--audit-policy-file={home / 'audit-policy.json'}",
        f"--audit-log-path={at.audit_log}",
        "--audit-log-maxsize=50",
        "--audit-log-maxbackup=2",
        "--allow-privileged=true",  # as on EKS; PodSecurity decides per namespace
        "--profiling=false",
        "--default-watch-cache-size=20",  # 100 by default, per kind: memory for a scale that a sandbox hasn't
        "--event-ttl=1h",
    )


def controller_manager(binary: Path, at: Layout) -> tuple[str, ...]:
    """kube-controller-manager with every default controller."""
    kubeconfig = at.component_kubeconfig("controller-manager")
    return (
        str(binary),
        "kube-controller-manager",
        *_component(at, "controller-manager", kubeconfig, at.controller_manager),
        f"--root-ca-file={at.pki / 'ca.crt'}",
        f"--service-account-private-key-file={at.pki / 'sa.key'}",
        "--use-service-account-credentials=true",
        "--kube-api-qps=200",
        "--kube-api-burst=300",
    )


def scheduler(binary: Path, at: Layout) -> tuple[str, ...]:
    """kube-scheduler with its default profile."""
    kubeconfig = at.component_kubeconfig("scheduler")
    return (
        str(binary),
        "kube-scheduler",
        *_component(at, "scheduler", kubeconfig, at.scheduler),
        "--kube-api-qps=200",
        "--kube-api-burst=300",
    )


def _component(at: Layout, certificate: str, kubeconfig: Path, port: int) -> tuple[str, ...]:
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--authentication-tolerate-lookup-failure=true",
        f"--client-ca-file={at.pki / 'ca.crt'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={at.pki / f'{certificate}.crt'}",
        f"--tls-private-key-file={at.pki / f'{certificate}.key'}",
        "--leader-elect=false",  # there is one of each; electing it costs 2 s of start and a lease
        "--profiling=false",
    )


def kwok(binary: Path, at: Layout) -> tuple[str, ...]:
    """KWOK for the nodes that our node controller marks, and no others."""
    return (
        str(binary),
        f"--kubeconfig={at.component_kubeconfig('kwok')}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--server-address=127.0.0.1:{at.kwok}",
        "--node-lease-duration-seconds=40",
        "--cidr=100.64.0.0/16",
    )


def authenticator(at: Layout) -> tuple[str, ...]:
    """Our stand-in for EKS authentication and access policies."""
    return (sys.executable, "-m", "headrace_sandbox.kubernetes.authenticator", *_ours(at, at.authenticator))


def nodes(at: Layout) -> tuple[str, ...]:
    """Our stand-in for EC2 behind managed node groups."""
    return (sys.executable, "-m", "headrace_sandbox.kubernetes.nodes", *_ours(at, at.nodes))


def _ours(at: Layout, port: int) -> tuple[str, ...]:
    return ("--directory", str(at.directory), "--port", str(port), "--api", at.api_url, "--aws", at.aws_url)
