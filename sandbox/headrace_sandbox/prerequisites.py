"""What an account holds before a stack is deployed into it, put there by people: the sandbox's account gets it too.

Today that is one thing: the credentials of upstream registries in Secrets Manager, which a pull-through cache rule
names by ARN and which AWS checks when the rule is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from headrace.errors import refuse
from headrace_sandbox import supervise
from headrace_sandbox.environment import sandbox_credentials
from headrace_sandbox.service import SandboxContext


def registry_secrets(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Region and name of each registry credential that a stack's configuration names."""
    store = settings.get("inference:modelStore") or {}
    return sorted(_region_and_name(str(arn)) for arn in (store.get("upstreamCredentialArns") or {}).values())


def _region_and_name(arn: str) -> tuple[str, str]:
    """`arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-xxxxxx`: AWS appends six characters to the name."""
    parts = arn.split(":", 6)
    if len(parts) != 7 or parts[2] != "secretsmanager" or "-" not in parts[6]:
        raise refuse(
            "inference:modelStore.upstreamCredentialArns",
            arn,
            "it is not the ARN of a secret",
            next_step="write arn:aws:secretsmanager:REGION:ACCOUNT:secret:ecr-pullthroughcache/NAME-SUFFIX",
        )
    return parts[3], parts[6].rpartition("-")[0]


def provide(context: SandboxContext, secrets: Iterable[tuple[str, str]]) -> None:
    """Create the secrets that are not there yet, with a value that opens nothing."""
    wanted = list(secrets)
    if not wanted:
        return
    import boto3  # half a second that a stack without such credentials need not pay

    key, secret = sandbox_credentials()
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret)
    url = supervise.endpoints(context.directory)["aws"]
    for region, name in wanted:
        client = session.client("secretsmanager", region_name=region, endpoint_url=url)
        try:
            client.create_secret(Name=name, SecretString=json.dumps({"username": "sandbox", "accessToken": "sandbox"}))
        except client.exceptions.ResourceExistsException:
            continue
