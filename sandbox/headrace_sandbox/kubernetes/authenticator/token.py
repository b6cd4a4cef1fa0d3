"""Read an EKS bearer token: `k8s-aws-v1.` and a base64url-encoded presigned STS GetCallerIdentity URL.

Checks as in aws-iam-authenticator (pkg/token/token.go, `tokenVerifier.Verify`): scheme and host of the STS endpoint,
path, only known query parameters, the cluster header among the signed ones, a date not older than 15 minutes.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from headrace_sandbox.kubernetes.aws_shim import CLUSTER_HEADER, TOKEN_PREFIX

MAX_LENGTH: Final = 4096
_LIFE: Final = datetime.timedelta(minutes=15)
_SKEW: Final = datetime.timedelta(minutes=5)
_MAX_EXPIRES_S: Final = 900
_EMPTY: Final = hashlib.sha256(b"").hexdigest()  # a GET has no body
_PARAMETERS: Final = frozenset(
    {
        "action",
        "version",
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    }
)


class TokenRefused(Exception):
    """Why a token is not accepted. Never holds the token."""


@dataclass(frozen=True, kw_only=True)
class SignedIdentity:
    """What a well-formed token claims. `url` is the request that proves it."""

    url: str
    access_key: str
    region: str
    signed_at: datetime.datetime
    expires_s: int
    signed_headers: tuple[str, ...]
    signature: str


def read(token: str, *, sts_endpoint: str, now: datetime.datetime) -> SignedIdentity:
    """Parse and check a token; raises `TokenRefused` with the first rule it breaks."""
    url = _url(token)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise TokenRefused("the token's second part is no URL") from error
    expected = urlsplit(sts_endpoint)
    if (parts.scheme, parts.netloc) != (expected.scheme, expected.netloc):
        raise TokenRefused(f"the URL is for {parts.scheme}://{parts.netloc}, not for the STS of this cloud")
    if parts.path != "/" or parts.fragment:
        raise TokenRefused("the URL's path is not /")
    parameters = _parameters(parts.query)
    if parameters.get("action") != "GetCallerIdentity":
        raise TokenRefused("the URL's action is not GetCallerIdentity")
    if parameters.get("x-amz-algorithm") != "AWS4-HMAC-SHA256":
        raise TokenRefused("the URL is not signed with AWS4-HMAC-SHA256")
    signed_headers = parameters.get("x-amz-signedheaders", "").split(";")
    if CLUSTER_HEADER not in signed_headers or "host" not in signed_headers:
        raise TokenRefused(f"host and {CLUSTER_HEADER} are not both signed, so the token is for no cluster")
    scope = parameters.get("x-amz-credential", "").split("/")
    if len(scope) != 5 or scope[3:] != ["sts", "aws4_request"] or not all(scope):
        raise TokenRefused("the credential scope is not <key>/<date>/<region>/sts/aws4_request")
    signed_at, expires_s = _dates(parameters, now)
    return SignedIdentity(
        url=url,
        access_key=scope[0],
        region=scope[2],
        signed_at=signed_at,
        expires_s=expires_s,
        signed_headers=tuple(signed_headers),
        signature=parameters.get("x-amz-signature", ""),
    )


def _url(token: str) -> str:
    if len(token) > MAX_LENGTH:
        raise TokenRefused(f"the token is longer than {MAX_LENGTH} characters")
    if not token.startswith(TOKEN_PREFIX):
        raise TokenRefused(f"the token doesn't begin with {TOKEN_PREFIX}")
    encoded = token.removeprefix(TOKEN_PREFIX)
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        return raw.decode("ascii")
    except ValueError as error:  # not ASCII, not base64, or bytes that are no text
        raise TokenRefused("the token's second part is not base64url of an URL") from error


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise TokenRefused("the URL's query can't be read") from error
    for name, value in pairs:
        lower = name.lower()
        if lower not in _PARAMETERS:
            raise TokenRefused(f"the URL has a query parameter that a token hasn't: {name[:40]!r}")
        if lower in found:
            raise TokenRefused(f"the URL's query parameter {lower} stands there twice")
        found[lower] = value
    return found


def _dates(parameters: dict[str, str], now: datetime.datetime) -> tuple[datetime.datetime, int]:
    try:
        signed_at = datetime.datetime.strptime(parameters.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(
            tzinfo=datetime.UTC
        )
        expires_s = int(parameters.get("x-amz-expires", ""))
    except ValueError as error:
        raise TokenRefused("the URL's date or expiry can't be read") from error
    if not 0 < expires_s <= _MAX_EXPIRES_S:
        raise TokenRefused(f"the URL's expiry is not within 1 to {_MAX_EXPIRES_S} s")
    if now - signed_at > _LIFE:
        raise TokenRefused("the token was signed more than 15 minutes ago")
    if signed_at - now > _SKEW:
        raise TokenRefused("the token was signed in the future")
    return signed_at, expires_s


def signed_for(identity: SignedIdentity, *, cluster: str, secret_key: str) -> bool:
    """Whether the signature is the one that `secret_key` gives with this cluster's name in the signed header.

    Signature Version 4 for query strings (IAM user guide, "Create a signed AWS API request"). The stand-in for STS
    checks no signature, so this is done here for keys whose secret the sandbox knows.
    """
    parts = urlsplit(identity.url)
    headers = {"host": parts.netloc, CLUSTER_HEADER: cluster}
    names = identity.signed_headers
    if not set(names) <= headers.keys():
        return False  # a header whose value we can't know
    query = sorted(pair for pair in parts.query.split("&") if not pair.startswith("X-Amz-Signature="))
    canonical = "\n".join(
        (
            "GET",
            parts.path,
            "&".join(query),
            *(f"{name}:{headers[name]}" for name in names),
            "",
            ";".join(names),
            _EMPTY,
        )
    )
    date = identity.signed_at.strftime("%Y%m%d")
    scope = f"{date}/{identity.region}/sts/aws4_request"
    stamp = identity.signed_at.strftime("%Y%m%dT%H%M%SZ")
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for step in (date, identity.region, "sts", "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), identity.signature)
