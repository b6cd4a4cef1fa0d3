"""What an account holds before a stack is deployed into it, put there by people: the sandbox's account gets it too.

- The roles that the settings name (administrators of the cluster, a tenant's deployers). The engine then works as the
  first administrator, as an operator does: the cluster gives its creator no rights of their own.
- The credentials of upstream registries in Secrets Manager, which a pull-through cache rule names by ARN and which AWS
  checks when the rule is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headrace_sandbox import environment, supervise
from headrace_sandbox.service import SandboxContext
from headrace_sandbox.supervise_ports import write_json

if TYPE_CHECKING:
    import boto3

_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role/(?P<path>(?:.+/)?)(?P<name>[^/]+)")
# AWS appends a dash and six characters to the name that a secret was given.
_SECRET: Final = re.compile(r"arn:aws[a-z-]*:secretsmanager:(?P<region>[^:]+):\d{12}:secret:(?P<name>.+)-[^-]{6}")


@dataclass(frozen=True, kw_only=True)
class Prerequisites:
    """Role ARNs, secrets as (region, name), and the role that the engine works as (empty: none is named)."""

    roles: tuple[str, ...]
    secrets: tuple[tuple[str, str], ...]
    operator: str


def needed(settings: Mapping[str, Any]) -> Prerequisites:
    """What a stack's configuration (`inference:*` keys) takes for granted."""
    texts = sorted(set(_texts([value for key, value in settings.items() if key.startswith("inference:")])))
    cluster = settings.get("inference:cluster") or {}
    administrators = [arn for arn in cluster.get("adminPrincipalArns") or () if _ROLE.fullmatch(str(arn))]
    return Prerequisites(
        roles=tuple(text for text in texts if _ROLE.fullmatch(text)),
        secrets=tuple((found["region"], found["name"]) for text in texts if (found := _SECRET.fullmatch(text))),
        operator=str(administrators[0]) if administrators else "",
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def provide(context: SandboxContext, settings: Mapping[str, Any]) -> None:
    """Create what is not there yet, and let the engine work as the operator. The sandbox has to be up."""
    wanted = needed(settings)
    url = supervise.endpoints(context.directory).get("aws")
    if url is None or wanted == Prerequisites(roles=(), secrets=(), operator=""):
        return
    import boto3  # half a second that a stack without prerequisites need not pay

    key, secret = environment.sandbox_credentials()
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=environment.DEFAULT_REGION)
    for arn in wanted.roles:
        _role(session, url, arn)
    for region, name in wanted.secrets:
        _secret(session, url, region, name)
    if wanted.operator:
        _work_as(session, url, context, wanted.operator)


def _role(session: boto3.Session, url: str, arn: str) -> None:
    found = _ROLE.fullmatch(arn)
    assert found is not None  # noqa: S101 - needed() lists matches only
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": f"arn:aws:iam::{found['account']}:root"},
    }
    client = session.client("iam", endpoint_url=url)
    try:
        client.create_role(
            RoleName=found["name"],
            Path=f"/{found['path']}",
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
    except client.exceptions.EntityAlreadyExistsException:
        return


def _secret(session: boto3.Session, url: str, region: str, name: str) -> None:
    client = session.client("secretsmanager", region_name=region, endpoint_url=url)
    opens_nothing = json.dumps({"username": "sandbox", "accessToken": "sandbox"})
    try:
        client.create_secret(Name=name, SecretString=opens_nothing)
    except client.exceptions.ResourceExistsException:
        return


def _is_known(session: boto3.Session, url: str, kept: Mapping[str, str], role: str) -> bool:
    """Whether the gateway still knows the kept session as one of the role; a gateway that was stopped has forgotten."""
    client = session.client(
        "sts",
        endpoint_url=url,
        aws_access_key_id=kept["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=kept["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=kept["AWS_SESSION_TOKEN"],
    )
    return f":assumed-role/{role.rsplit('/', 1)[-1]}/" in client.get_caller_identity()["Arn"]


def _work_as(session: boto3.Session, url: str, context: SandboxContext, role: str) -> None:
    """Keep one session of the role for `engine_environment`: the engine is the same caller in every run."""
    file = environment.operator_file(context)
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if kept.get("role") == role and _is_known(session, url, kept, role):
        return
    client = session.client("sts", endpoint_url=url)
    given = client.assume_role(RoleArn=role, RoleSessionName="headrace")["Credentials"]
    # The authenticator checks the signature in a cluster token, so it has to know the key that signed it.
    from headrace_sandbox.kubernetes import configuration, layout

    configuration.know_credentials(layout.layout(context), {given["AccessKeyId"]: given["SecretAccessKey"]})
    write_json(
        file,
        {
            "role": role,
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        },
        mode=0o600,
    )
