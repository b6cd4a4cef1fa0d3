"""Ask the AWS stand-in who a caller is and what its clusters say of it."""

from __future__ import annotations

import json
import logging
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from headrace_sandbox.kubernetes.authenticator import access, policies, token
from headrace_sandbox.kubernetes.aws_clients import AwsClients
from headrace_sandbox.kubernetes.aws_shim import CLUSTER_HEADER

log = logging.getLogger(__name__)


class Refusal(Exception):
    """Why a caller is not let in."""


class Directory:
    """STS and EKS of the stand-in. Nothing is cached here: the API server caches answers for seconds."""

    def __init__(self, aws_url: str, credentials_file: Path) -> None:
        self._aws_url = aws_url
        self._aws = AwsClients(aws_url)
        self._credentials_file = credentials_file
        self._http = httpx.Client(timeout=5.0, trust_env=False)

    def authenticate(self, identity: token.SignedIdentity) -> access.User:
        """The Kubernetes user of a token; raises `Refusal`."""
        clusters = [name for name, found in self._clusters(identity.region) if access.uses_entries(found)]
        if not clusters:
            raise Refusal(f"no cluster with access entries in {identity.region}")
        cluster = self._signed_cluster(identity, clusters)
        caller = self._caller(identity, cluster)
        entries = [
            entry
            for name in ([cluster] if cluster else clusters)
            if (entry := self._entry(identity.region, name, caller.canonical_arn)) is not None
        ]
        try:
            entry = access.only_entry(entries)
        except access.Ambiguous as error:
            raise Refusal(str(error)) from error
        if entry is None:
            where = cluster or f"the clusters of {identity.region}"
            raise Refusal(f"{caller.canonical_arn} has no access entry in {where}")
        return access.user(caller, entry, access_key=identity.access_key, region=identity.region)

    def associations(self, region: str, cluster: str, principal_arn: str) -> list[policies.Association]:
        """The access policies of an entry; none when cluster or entry are gone."""
        client = self._aws.client("eks", region)
        try:
            pages = client.get_paginator("list_associated_access_policies").paginate(
                clusterName=cluster, principalArn=principal_arn
            )
            found = [policy for page in pages for policy in page["associatedAccessPolicies"]]
        except client.exceptions.ResourceNotFoundException:
            return []
        return [
            policies.Association(
                policy=policies.policy_name(policy["policyArn"]),
                namespaces=None
                if policy["accessScope"]["type"] == "cluster"
                else tuple(policy["accessScope"].get("namespaces") or ()),
            )
            for policy in found
        ]

    def _clusters(self, region: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        client = self._aws.client("eks", region)
        for page in client.get_paginator("list_clusters").paginate():
            for name in page["clusters"]:
                try:
                    yield name, client.describe_cluster(name=name)["cluster"]
                except client.exceptions.ResourceNotFoundException:
                    continue  # deleted between the two calls

    def _signed_cluster(self, identity: token.SignedIdentity, clusters: list[str]) -> str | None:
        """The cluster whose name the token signs, or None where the secret is unknown and there are several."""
        secret = self._secrets().get(identity.access_key)
        if secret is None:
            return clusters[0] if len(clusters) == 1 else None
        for cluster in clusters:
            if token.signed_for(identity, cluster=cluster, secret_key=secret):
                return cluster
        raise Refusal(f"the token of {identity.access_key} is signed for none of {', '.join(sorted(clusters))}")

    def _secrets(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._credentials_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}

    def _caller(self, identity: token.SignedIdentity, cluster: str | None) -> access.Caller:
        headers = {"Accept": "application/json"} | ({CLUSTER_HEADER: cluster} if cluster else {})
        try:
            answer = self._http.get(identity.url, headers=headers)
        except httpx.HTTPError as error:
            raise Refusal(f"STS can't be reached: {error}") from error
        if not answer.is_success:
            raise Refusal(f"STS answered {answer.status_code} to the token's request")
        return caller_of(answer.text)

    def _entry(self, region: str, cluster: str, canonical_arn: str) -> access.Entry | None:
        client = self._aws.client("eks", region)
        try:
            pages = client.get_paginator("list_access_entries").paginate(clusterName=cluster)
            for page in pages:
                for principal in page["accessEntries"]:
                    if access.principal_matches(principal, canonical_arn):
                        return _entry_of(client.describe_access_entry(clusterName=cluster, principalArn=principal))
        except client.exceptions.ResourceNotFoundException:
            return None
        except (ClientError, BotoCoreError) as error:
            raise Refusal(f"EKS can't tell the access entries of {cluster}: {error}") from error
        return None


def _entry_of(answer: Mapping[str, Any]) -> access.Entry:
    found = answer["accessEntry"]
    return access.Entry(
        cluster=found["clusterName"],
        principal_arn=found["principalArn"],
        username=found.get("username") or "",
        groups=tuple(found.get("kubernetesGroups") or ()),
    )


def caller_of(answer: str) -> access.Caller:
    """The caller in STS's answer, JSON or XML (a server may not heed Accept); raises `Refusal`."""
    try:
        if answer.lstrip().startswith("{"):
            found = json.loads(answer)["GetCallerIdentityResponse"]["GetCallerIdentityResult"]
        else:
            found = {
                element.tag.rpartition("}")[2]: element.text or ""
                for element in ET.fromstring(answer).iter()  # noqa: S314 - from our own stand-in on loopback
            }
        return access.Caller(arn=found["Arn"], user_id=found["UserId"], account=found["Account"])
    except (ValueError, KeyError, TypeError, ET.ParseError) as error:
        raise Refusal("STS gave no caller identity") from error
