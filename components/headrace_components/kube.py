"""From a Kubernetes manifest to the arguments of the SDK's resource of that kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def properties(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """`manifest` with the keys of its first level as Python names (`roleRef` -> `role_ref`). Below it the SDK takes
    Kubernetes' own names."""
    return {re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), key): value for key, value in manifest.items()}
