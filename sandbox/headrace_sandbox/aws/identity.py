"""The account that the stand-in plays, and identifiers of the shape AWS gives."""

from __future__ import annotations

import secrets

ACCOUNT_ID = "123456789012"
"""The account moto plays by default (moto.core.DEFAULT_ACCOUNT_ID); a test holds the two equal."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def partition(region: str) -> str:
    """The ARN partition of a region."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def arn(service: str, region: str, resource: str, *, regional: bool = True) -> str:
    """`arn:<partition>:<service>:<region>:<account>:<resource>`; global services have an empty region."""
    return f"arn:{partition(region)}:{service}:{region if regional else ''}:{ACCOUNT_ID}:{resource}"


def ec2_id(prefix: str) -> str:
    """`cr-0123456789abcdef0`: a prefix and 17 hexadecimal digits, as EC2 makes them since 2018."""
    return f"{prefix}-0{secrets.token_hex(8)}"


def uuid() -> str:
    """A random UUID in its usual text form."""
    raw = secrets.token_hex(16)
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:]}"


def word(length: int) -> str:
    """Random lower-case letters and digits, starting with a letter."""
    return secrets.choice(_ALPHABET[:26]) + "".join(secrets.choice(_ALPHABET) for _ in range(length - 1))
