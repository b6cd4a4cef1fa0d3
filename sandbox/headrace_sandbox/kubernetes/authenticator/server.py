"""The webhook that the API server calls: TokenReview on /authenticate, SubjectAccessReview on /authorize."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
import time
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from botocore.exceptions import BotoCoreError, ClientError

from headrace_sandbox.kubernetes.authenticator import access, policies, token
from headrace_sandbox.kubernetes.authenticator.directory import Directory, Refusal
from headrace_sandbox.kubernetes.kube import Kube, KubeError

log = logging.getLogger(__name__)
_ROLES_LIFE_S: Final = 30.0


class Roles:
    """Kubernetes' admin, edit and view roles, read again after 30 s (controllers aggregate rules into them)."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._read_at = float("-inf")
        self._rules = policies.RoleRules()

    def current(self, now: float) -> policies.RoleRules:
        """The rules, at most 30 s old; older ones when the API server can't be asked."""
        if now - self._read_at > _ROLES_LIFE_S:
            try:
                found = {role: self._read(role) for role in policies.LIKE_ROLE.values()}
            except KubeError as error:
                log.warning("keeping the role rules of before: %s", error)
            else:
                self._rules, self._read_at = policies.RoleRules(by_role=found), now
        return self._rules

    def _read(self, role: str) -> tuple[policies.Rule, ...]:
        found = self._kube.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{role}")
        return policies.rules_of(found) if found else ()


class Webhook:
    """The two reviews. Blocking work runs in threads, so that one slow answer holds up nobody."""

    def __init__(self, directory: Directory, roles: Roles, *, sts_endpoint: str) -> None:
        self._directory = directory
        self._roles = roles
        self._sts_endpoint = sts_endpoint

    async def authenticate(self, request: web.Request) -> web.Response:
        """TokenReview: who is it. A refused token is 'not authenticated', with the reason in our log only."""
        review = await request.json()
        presented = str((review.get("spec") or {}).get("token") or "")
        try:
            status = await asyncio.to_thread(self._authenticate, presented)
        except (Refusal, token.TokenRefused) as refusal:
            log.warning("refused a token: %s", refusal)
            # No reason to the caller: as on EKS, it learns "Unauthorized" and nothing of the cluster's entries.
            status = {"authenticated": False}
        except (ClientError, BotoCoreError) as error:
            log.warning("can't decide on a token: %s", error)
            status = {"authenticated": False, "error": "the AWS stand-in can't be asked"}
        return _review("authentication.k8s.io/v1", "TokenReview", status)

    def _authenticate(self, presented: str) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC)
        user = self._directory.authenticate(token.read(presented, sts_endpoint=self._sts_endpoint, now=now))
        log.info("authenticated %s as %s, groups %s", user.extra["arn"][0], user.username, list(user.groups))
        return {
            "authenticated": True,
            "user": {
                "username": user.username,
                "uid": user.uid,
                "groups": list(user.groups),
                "extra": {name: list(values) for name, values in user.extra.items()},
            },
        }

    async def authorize(self, request: web.Request) -> web.Response:
        """SubjectAccessReview: allowed by an access policy, or no opinion."""
        review = await request.json()
        try:
            verdict = await asyncio.to_thread(self._authorize, review.get("spec") or {})
        except (ClientError, BotoCoreError) as error:
            log.warning("can't ask for access policies: %s", error)
            verdict = policies.Verdict(allowed=False)
        status: dict[str, Any] = {"allowed": verdict.allowed}
        if verdict.reason:
            status["reason"] = verdict.reason
        return _review("authorization.k8s.io/v1", "SubjectAccessReview", status)

    def _authorize(self, spec: dict[str, Any]) -> policies.Verdict:
        extra = spec.get("extra") or {}
        place, principal = extra.get(access.CLUSTER_EXTRA) or [], extra.get(access.PRINCIPAL_EXTRA) or []
        if len(place) != 1 or len(principal) != 1 or "/" not in place[0]:
            return policies.Verdict(allowed=False)
        region, _, cluster = place[0].partition("/")
        found = self._directory.associations(region, cluster, principal[0])
        if not found:
            return policies.Verdict(allowed=False)
        return policies.decide(policies.request_of(spec), found, self._roles.current(time.monotonic()))


def _review(api_version: str, kind: str, status: dict[str, Any]) -> web.Response:
    return web.json_response({"apiVersion": api_version, "kind": kind, "status": status})


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="ok")


def application(webhook: Webhook) -> web.Application:
    """The routes."""
    made = web.Application(middlewares=[only_the_api_server])
    made.router.add_post("/authenticate", webhook.authenticate)
    made.router.add_post("/authorize", webhook.authorize)
    made.router.add_get("/healthz", _healthy)
    return made


def tls(pki: Path) -> ssl.SSLContext:
    """Our certificate; a client certificate is verified where one is shown (see `only_the_api_server`)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "eks-authenticator.crt", pki / "eks-authenticator.key")
    context.verify_mode = ssl.CERT_OPTIONAL  # the supervisor's health probe has none
    return context


@web.middleware
async def only_the_api_server(request: web.Request, handler: Any) -> web.StreamResponse:
    """Reviews are answered only to the API server's certificate: an answer tells who has which rights."""
    if request.path != "/healthz":
        shown = request.get_extra_info("peercert") or {}
        names = {value for group in shown.get("subject", ()) for key, value in group if key == "commonName"}
        if "headrace:kube-apiserver-webhooks" not in names:
            raise web.HTTPForbidden(text="reviews are for the API server")
    response: web.StreamResponse = await handler(request)
    return response
