"""`aws eks get-token`, for machines without the AWS command line: the credential that a kubeconfig of EKS asks for.

Put first on the engine's PATH by the sandbox. The token is the real thing: a presigned STS GetCallerIdentity URL with
the cluster's name as a signed header (AWS CLI, customizations/eks/get_token.py), signed by botocore with the caller's
own credentials.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import sys
from collections.abc import Sequence
from typing import Final

from headrace.errors import Refused, refuse

TOKEN_PREFIX: Final = "k8s-aws-v1."  # noqa: S105 - a public prefix
CLUSTER_HEADER: Final = "x-k8s-aws-id"
_URL_LIFE_S: Final = 60  # as the AWS CLI signs it; the authenticator counts 15 min from the date of signing
_TOKEN_LIFE: Final = datetime.timedelta(minutes=14)  # one minute less than the authenticator allows
_TAKES_VALUE: Final = ("--cluster-name", "--cluster-id", "--region", "--output", "--profile", "--role-arn")


def options(arguments: Sequence[str]) -> dict[str, str]:
    """`{option: value}` of `aws [global options] eks get-token ...`; refuses anything else."""
    words: list[str] = []
    found: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, has_value, value = argument.partition("=")
        if not argument.startswith("--"):
            words.append(argument)
        elif name in _TAKES_VALUE:
            given = value if has_value else next(rest, "")
            if not given:
                raise _refused(name, arguments)
            found[name] = given
        else:
            raise _refused(argument, arguments)
    if words != ["eks", "get-token"]:
        raise _refused(" ".join(words) or "no command", arguments)
    if "--cluster-name" not in found or "--cluster-id" in found or "--role-arn" in found:
        raise _refused("get-token without --cluster-name alone", arguments)
    if found.get("--output", "json") != "json":
        raise _refused(f"--output {found['--output']}", arguments)
    return found


def _refused(what: str, arguments: Sequence[str]) -> Refused:
    return refuse(
        f"aws {' '.join(arguments)}".strip(),
        None,
        f"the sandbox's `aws` knows only `eks get-token --cluster-name NAME [--region R] [--output json]`, not {what}",
        reason="it stands in for the AWS command line as a credential helper and nothing more",
        next_step="put the real AWS CLI before it on PATH for anything else",
    )


def sts_url(region: str) -> str:
    """The STS endpoint by the rules of the AWS SDKs: service-specific variable, general variable, the public one."""
    own = os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return (own or f"https://sts.{region}.{suffix}").rstrip("/")


def token(*, cluster: str, region: str, access_key: str, secret_key: str, session_token: str | None, url: str) -> str:
    """`k8s-aws-v1.<base64url of the presigned URL, unpadded>`."""
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(
        method="GET",
        url=f"{url}/?Action=GetCallerIdentity&Version=2011-06-15",
        headers={CLUSTER_HEADER: cluster},
    )
    credentials = Credentials(access_key, secret_key, session_token)
    SigV4QueryAuth(credentials, "sts", region, expires=_URL_LIFE_S).add_auth(request)
    return TOKEN_PREFIX + base64.urlsafe_b64encode(str(request.url).encode()).decode().rstrip("=")


def credential(token_text: str, *, now: datetime.datetime, api_version: str) -> dict[str, object]:
    """The ExecCredential that client-go expects on standard output."""
    expires = (now + _TOKEN_LIFE).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "ExecCredential",
        "apiVersion": api_version,
        "spec": {},
        "status": {"expirationTimestamp": expires, "token": token_text},
    }


def api_version(exec_info: str) -> str:
    """The version that the caller asks for in KUBERNETES_EXEC_INFO; v1beta1 where it says nothing, as the AWS CLI."""
    try:
        asked = json.loads(exec_info).get("apiVersion", "") if exec_info else ""
    except (ValueError, AttributeError):
        asked = ""
    known = asked in ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
    return asked if known else "client.authentication.k8s.io/v1beta1"


def run(arguments: Sequence[str]) -> str:
    """The command's output; raises `Refused`."""
    chosen = options(arguments)
    import botocore.session
    from botocore.exceptions import ProfileNotFound

    session = botocore.session.Session(profile=chosen.get("--profile"))
    try:
        # The AWS CLI heeds AWS_REGION, botocore alone does not.
        region = chosen.get("--region") or os.environ.get("AWS_REGION") or session.get_config_variable("region") or ""
        credentials = session.get_credentials()
    except ProfileNotFound as error:
        raise refuse(
            "--profile", chosen.get("--profile"), str(error).rstrip("."), next_step="name a profile of ~/.aws/config"
        ) from error
    if not region:
        raise refuse(
            "--region",
            None,
            "a region must be known",
            reason="a token is signed for one region",
            next_step="give --region or set AWS_REGION",
        )
    frozen = credentials.get_frozen_credentials() if credentials else None
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        raise refuse(
            "AWS_ACCESS_KEY_ID",
            None,
            "AWS credentials must be set",
            reason="a token is signed with them",
            next_step="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (`headrace engine env` prints the sandbox's)",
        )
    made = token(
        cluster=chosen["--cluster-name"],
        region=region,
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        session_token=frozen.token,
        url=sts_url(region),
    )
    version = api_version(os.environ.get("KUBERNETES_EXEC_INFO", ""))
    return json.dumps(credential(made, now=datetime.datetime.now(datetime.UTC), api_version=version))


def main() -> None:
    """Print the credential, or one sentence and exit code 2."""
    try:
        print(run(sys.argv[1:]))
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
