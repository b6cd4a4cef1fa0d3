"""Whether the engine has written a resource into its state, asked of the sandbox's state folder.

Between the plugin's answer and the engine's next write lies a moment in which a killed engine forgets what exists. The
official plugin can't know; this one runs beside the state and can.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_BACKEND: Final = "PULUMI_BACKEND_URL"


def is_recorded(urn: str, identity: str) -> bool | None:
    """Whether the state has `identity` under `urn`; None where there is no state file to look into."""
    text = _checkpoint(urn)
    if text is None:
        return None
    latest = (json.loads(text).get("checkpoint") or {}).get("latest") or {}
    return any(one["urn"] == urn and one.get("id") == identity for one in latest.get("resources") or ())


def _checkpoint(urn: str) -> bytes | None:
    backend = urlsplit(os.environ.get(_BACKEND, ""))
    _, _, stack, project, *_ = urn.replace("::", ":").split(":")
    if backend.scheme != "file":
        return None
    file = Path(unquote(backend.path)) / ".pulumi" / "stacks" / project / f"{stack}.json"
    if file.is_file():
        return file.read_bytes()
    packed = file.with_name(f"{file.name}.gz")
    return gzip.decompress(packed.read_bytes()) if packed.is_file() else None
