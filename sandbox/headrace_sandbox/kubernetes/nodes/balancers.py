"""EKS's service controller of the sandbox: a network load balancer in the AWS stand-in for each Service that asks for
one, and its host name in the Service's status.

Nothing listens behind that name: pods have no containers here. What is shown is that the Service asks for a balancer
that AWS makes, with the scheme and the subnets that its annotations say.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from headrace_sandbox.kubernetes.aws_clients import AwsClients
from headrace_sandbox.kubernetes.kube import Kube

log = logging.getLogger(__name__)

PREFIX: Final = "service.beta.kubernetes.io/aws-load-balancer"
FINALIZER: Final = "service.kubernetes.io/load-balancer-cleanup"
_SERVICES: Final = "/api/v1/services"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a Service asks for."""

    name: str
    scheme: str
    subnets: tuple[str, ...]
    tags: Mapping[str, str]


def wish(service: Mapping[str, Any]) -> Wish:
    """The balancer of a Service. Its name is derived from the Service's uid, as the service controller does."""
    metadata = service["metadata"]
    said = metadata.get("annotations") or {}
    internal = said.get(f"{PREFIX}-internal") == "true" or said.get(f"{PREFIX}-scheme") == "internal"
    tags = dict(pair.split("=", 1) for pair in said.get(f"{PREFIX}-additional-resource-tags", "").split(",") if pair)
    owner = f"{metadata['namespace']}/{metadata['name']}"
    return Wish(
        name=f"a{hashlib.sha256(metadata['uid'].encode()).hexdigest()[:31]}",
        scheme="internal" if internal else "internet-facing",
        subnets=tuple(one for one in said.get(f"{PREFIX}-subnets", "").split(",") if one),
        tags={**tags, "kubernetes.io/service-name": owner},
    )


@dataclass
class Balancers:
    """Makes balancers follow the Services, one pass at a time."""

    kube: Kube
    aws: AwsClients

    def turn(self, regions: frozenset[str]) -> None:
        """One pass. `regions`: where the cluster's nodes are; the balancer is made in the first."""
        if not regions:
            return
        region = min(regions)
        for service in self.kube.items(_SERVICES):
            metadata = service["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}"
            asks = service["spec"].get("type") == "LoadBalancer" and "deletionTimestamp" not in metadata
            held = FINALIZER in (metadata.get("finalizers") or ())
            if asks and not (service.get("status") or {}).get("loadBalancer", {}).get("ingress"):
                self._make(path, service, region, held=held)
            elif held and not asks:
                self._take_away(path, service, region)

    def _make(self, path: str, service: Mapping[str, Any], region: str, *, held: bool) -> None:
        if not held:
            kept = [*(service["metadata"].get("finalizers") or ()), FINALIZER]
            self.kube.merge(path, {"metadata": {"finalizers": kept}})
        wanted = wish(service)
        answer = self.aws.client("elbv2", region).create_load_balancer(
            Name=wanted.name,
            Type="network",
            Scheme=wanted.scheme,
            Subnets=list(wanted.subnets),
            Tags=[{"Key": key, "Value": value} for key, value in sorted(wanted.tags.items())],
        )
        host = answer["LoadBalancers"][0]["DNSName"]
        self.kube.merge(f"{path}/status", {"status": {"loadBalancer": {"ingress": [{"hostname": host}]}}})
        log.info("%s has the balancer %s", path, host)

    def _take_away(self, path: str, service: Mapping[str, Any], region: str) -> None:
        client = self.aws.client("elbv2", region)
        try:
            found = client.describe_load_balancers(Names=[wish(service).name])["LoadBalancers"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("LoadBalancerNotFound", "LoadBalancerNotFoundException"):
                raise
            found = []
        for one in found:
            client.delete_load_balancer(LoadBalancerArn=one["LoadBalancerArn"])
        kept = [one for one in service["metadata"]["finalizers"] if one != FINALIZER]
        self.kube.merge(path, {"metadata": {"finalizers": kept or None}})
        log.info("%s has no balancer any more", path)
