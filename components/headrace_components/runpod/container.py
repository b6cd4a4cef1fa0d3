"""Properties that RunPod's endpoints and templates have in common: the container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from headrace.protocol.values import Props, bare
from headrace_components.provider.fields import Failure, Field, Kind

CUDA_VERSION: Final = r"\d+\.\d+"
_TEXT: Final = Field(kind=Kind.STRING, description="")


def strings(description: str, **more: Any) -> Field:
    """A list of strings."""
    return Field(kind=Kind.ARRAY, items=_TEXT, description=description, **more)


IMAGE: Final = Field(
    kind=Kind.STRING,
    description="Container image by digest (`repository@sha256:…`), so that every worker runs the same code.",
)
CONTAINER: Final = {
    "args": Field(
        kind=Kind.STRING,
        description="Arguments of the container's entry point, one string that the vendor splits like a shell.",
    ),
    "disk": Field(
        kind=Kind.INTEGER, minimum=1, description="Container disk in GB; wiped at every restart. The vendor's default."
    ),
    "env": Field(
        kind=Kind.MAP, items=_TEXT, description="Environment variables. Mark values that are secrets as such."
    ),
    "ports": strings("Ports as port/protocol, for instance `8000/http`.", order_free=True),
    "registry": Field(kind=Kind.STRING, description="Id of a `RegistryAuth`, for private images."),
}
# What a PATCH sends to take a property back to nothing. `disk` has no such value: its removal changes nothing.
NOTHING: Final[dict[str, Any]] = {"args": "", "env": {}, "ports": [], "registry": None}


def image_by_digest(inputs: Props) -> Iterator[Failure]:
    """A tag can be moved under a running endpoint."""
    image = bare(inputs.get("image"))
    if isinstance(image, str) and "@sha256:" not in image:
        yield Failure(
            path="image",
            reason=f"{image!r} must name an image by digest (repository@sha256:…), because a tag can be moved and then "
            "two workers run different code under one name",
        )
