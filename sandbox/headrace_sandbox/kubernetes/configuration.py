"""The configuration files of the control plane, as plain data, and the step that writes them."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from headrace_sandbox.kubernetes import pki
from headrace_sandbox.kubernetes.layout import Layout, write_private

Document = dict[str, Any]

_AUTHORIZER_CACHE: Final = "5s"
"""EKS takes up to several seconds to heed a changed access entry (EKS user guide, access entries); so do we."""

KUBECONFIGS: Final = ("controller-manager", "scheduler", "kwok", "eks-nodes", "eks-authenticator")


def kubeconfig(*, url: str, ca: bytes, certificate: bytes, key: bytes, user: str) -> Document:
    """A kubeconfig with one cluster, one user with a client certificate, and one context."""

    def text(raw: bytes) -> str:
        return base64.b64encode(raw).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": {"server": url, "certificate-authority-data": text(ca)}}],
        "users": [{"name": user, "user": {"client-certificate-data": text(certificate), "client-key-data": text(key)}}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": user}}],
        "current-context": "sandbox",
    }


def webhook(layout: Layout, path: str) -> Document:
    """The kubeconfig by which the API server reaches our authenticator."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "eks-authenticator",
                "cluster": {
                    "server": f"https://127.0.0.1:{layout.authenticator}{path}",
                    "certificate-authority": str(layout.pki / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": "kube-apiserver",
                "user": {
                    "client-certificate": str(layout.pki / "webhook-client.crt"),
                    "client-key": str(layout.pki / "webhook-client.key"),
                },
            }
        ],
        "contexts": [{"name": "webhook", "context": {"cluster": "eks-authenticator", "user": "kube-apiserver"}}],
        "current-context": "webhook",
    }


def authentication() -> Document:
    """Anonymous requests reach the health endpoints only, as on EKS."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {
            "enabled": True,
            "conditions": [{"path": "/livez"}, {"path": "/readyz"}, {"path": "/healthz"}],
        },
    }


def authorization(layout: Layout) -> Document:
    """RBAC first; what it doesn't allow, and an IAM principal asks, is decided by the EKS access policies."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": [
            {"type": "RBAC", "name": "rbac"},
            {
                "type": "Webhook",
                "name": "eks-access-policies",
                "webhook": {
                    "timeout": "5s",
                    "authorizedTTL": _AUTHORIZER_CACHE,
                    "unauthorizedTTL": "1s",
                    "subjectAccessReviewVersion": "v1",
                    "matchConditionSubjectAccessReviewVersion": "v1",
                    "failurePolicy": "NoOpinion",
                    "connectionInfo": {
                        "type": "KubeConfigFile",
                        "kubeConfigFile": str(layout.home / "authorization-webhook.kubeconfig"),
                    },
                    # Without this every request that RBAC denies would travel to the webhook.
                    "matchConditions": [{"expression": "has(request.extra) && 'canonicalArn' in request.extra"}],
                },
            },
        ],
    }


def encryption(key: bytes) -> Document:
    """Secrets lie encrypted in etcd, as EKS does with a KMS key; the key here is a file of the sandbox."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [
            {
                "resources": ["secrets"],
                "providers": [
                    {"secretbox": {"keys": [{"name": "sandbox", "secret": base64.b64encode(key).decode()}]}},
                    {"identity": {}},
                ],
            }
        ],
    }


def audit_policy() -> Document:
    """Who did what, never the body of a Secret; leases, events and the control plane's own reads are left out."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "nonResourceURLs": ["/livez*", "/readyz*", "/healthz*", "/version", "/openapi/*"]},
            {
                "level": "None",
                "resources": [
                    {"group": "coordination.k8s.io", "resources": ["leases"]},
                    {"group": "", "resources": ["events"]},
                    {"group": "events.k8s.io"},
                ],
            },
            {
                "level": "None",
                "users": [
                    "system:apiserver",
                    "system:kube-controller-manager",
                    "system:kube-scheduler",
                    "headrace:kwok",
                    "headrace:eks-nodes",
                    "headrace:eks-authenticator",
                ],
                "verbs": ["get", "list", "watch"],
            },
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"], "verbs": ["get", "list", "watch"]},
            {
                "level": "Metadata",
                "resources": [
                    {"group": "", "resources": ["secrets", "configmaps", "serviceaccounts/token"]},
                    {"group": "authentication.k8s.io", "resources": ["tokenreviews"]},
                ],
            },
            {"level": "Metadata", "verbs": ["get", "list", "watch"]},
            {
                "level": "RequestResponse",
                "verbs": ["create", "update", "patch", "delete"],
                "resources": [{"group": "rbac.authorization.k8s.io"}],
            },
            {"level": "Metadata"},
        ],
    }


def prepare(layout: Layout, *, now: datetime.datetime) -> None:
    """Write certificates and configuration. What is there and right stays, so a running part is undisturbed."""
    for folder in (layout.home, layout.etcd_data, layout.audit_log.parent):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # etcd refuses nothing less for its data, and logs name principals
    pki.ensure(layout.pki, now=now)
    ca = (layout.pki / "ca.crt").read_bytes()
    for component in ("admin", *KUBECONFIGS):
        document = kubeconfig(
            url=layout.api_url,
            ca=ca,
            certificate=(layout.pki / f"{component}.crt").read_bytes(),
            key=(layout.pki / f"{component}.key").read_bytes(),
            user=component,
        )
        _write(layout.kubeconfig if component == "admin" else layout.component_kubeconfig(component), document)
    _write(layout.home / "authentication-webhook.kubeconfig", webhook(layout, "/authenticate"))
    _write(layout.home / "authorization-webhook.kubeconfig", webhook(layout, "/authorize"))
    _write(layout.home / "authentication.json", authentication())
    _write(layout.home / "authorization.json", authorization(layout))
    _write(layout.home / "encryption.json", encryption((layout.pki / "encryption.key").read_bytes()))
    _write(layout.home / "audit-policy.json", audit_policy())
    _write(layout.description, {"url": layout.api_url, "ca_pem_path": str(layout.pki / "ca.crt")})


def know_credentials(layout: Layout, credentials: Mapping[str, str]) -> None:
    """Let the authenticator check tokens of these `{access key id: secret}`: that tells clusters apart which share the
    API server. Keys that are there already stay; the file is not secret from whoever owns the sandbox."""
    known: dict[str, str] = {}
    if layout.aws_credentials.is_file():
        known = json.loads(layout.aws_credentials.read_text(encoding="utf-8"))
    _write(layout.aws_credentials, {**credentials, **known})


def _write(path: Path, document: Document) -> None:
    write_private(path, json.dumps(document, indent=2) + "\n")  # JSON is YAML: every reader of these takes both
