"""What all settings models share: camelCase in YAML, snake_case in Python, nothing unknown, nothing mutable."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel


class SettingsModel(BaseModel):
    """Base of every settings model. A misspelt key is refused rather than ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


# A name becomes part of cloud names, DNS labels and Kubernetes namespaces: RFC 1123 label, kept short so that
# "<tenant>-<project>-<environment>" stays within 63 characters.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$")]
# "sha256:" and 64 hex digits (OCI image spec, descriptor digests).
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
# Repository, then a digest; a tag alone can be moved and is refused.
ImageByDigest = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$")]
Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Cidr = Annotated[str, StringConstraints(pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$")]
Percent = Annotated[float, Field(ge=0, le=100)]
UsdPerMonth = Annotated[float, Field(gt=0)]
