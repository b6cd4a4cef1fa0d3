"""Every rule, written out. Nothing registers itself on import."""

from __future__ import annotations

from typing import Final

from headrace.rules.network import gpu_nodes_only_in_private_subnets
from headrace.rules.rule import Rule

RULES: Final[tuple[Rule, ...]] = (gpu_nodes_only_in_private_subnets.RULE,)
