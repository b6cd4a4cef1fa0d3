"""What all settings models share: camelCase in YAML, snake_case in Python, nothing unknown, nothing mutable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints
from pydantic.alias_generators import to_camel


class SettingsModel(BaseModel):
    """Base of every settings model. A misspelt key is refused rather than ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        defer_build=True,
        use_attribute_docstrings=True,
    )


NAME_PATTERN: Final = r"^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$"
DIGEST_PATTERN: Final = r"^sha256:[0-9a-f]{64}$"
IMAGE_PATTERN: Final = r"^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$"
ZONE_PATTERN: Final = r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$"
REGION_PATTERN: Final = r"^[a-z]{2}(-[a-z]+)+-\d$"
CIDR_PATTERN: Final = r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$"
PRINCIPAL_PATTERN: Final = r"^arn:aws(-[a-z]+)*:iam::\d{12}:(role|user)/[\w+=,.@/-]+$"
KMS_KEY_PATTERN: Final = r"^arn:aws(-[a-z]+)*:kms:[a-z0-9-]+:\d{12}:key/[0-9a-f-]+$"
VERSION_PATTERN: Final = r"^\d+\.\d+$"
ARTIFACT_URI_PATTERN: Final = r"^s3://[a-z0-9.-]+/.+$"
RESERVATION_PATTERN: Final = r"^cr-[0-9a-f]{8,17}$"
KUBERNETES_PATTERN: Final = r"^1\.\d+$"
EMAIL_PATTERN: Final = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"

# A name becomes part of cloud names, DNS labels and Kubernetes namespaces: RFC 1123 label, kept short so that
# "<tenant>-<project>-<environment>" stays within 63 characters.
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
# "sha256:" and 64 hex digits (OCI image spec, descriptor digests).
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
# Repository, then a digest; a tag alone can be moved and is refused.
ImageByDigest = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN)]
Zone = Annotated[str, StringConstraints(pattern=ZONE_PATTERN)]
Region = Annotated[str, StringConstraints(pattern=REGION_PATTERN)]
Cidr = Annotated[str, StringConstraints(pattern=CIDR_PATTERN)]
# An IAM role or user; the account root is left out on purpose, it can't be held to a role.
PrincipalArn = Annotated[str, StringConstraints(pattern=PRINCIPAL_PATTERN)]
Email = Annotated[str, StringConstraints(pattern=EMAIL_PATTERN)]
Percent = Annotated[float, Field(ge=0, le=100)]
UsdPerMonth = Annotated[float, Field(gt=0)]
UsdPerHour = Annotated[float, Field(gt=0)]


def _encrypted(value: object) -> object:
    """A stack file holds `{secure: <ciphertext>}`; only the engine can decrypt it, so its place is all we know."""
    if isinstance(value, Mapping) and set(value) == {"secure"} and isinstance(value["secure"], str):
        return SecretStr("")
    return value


# Text that must not appear anywhere in plain. A stack file holds it encrypted (`pulumi config set --secret --path`).
SecretText = Annotated[SecretStr, BeforeValidator(_encrypted)]
