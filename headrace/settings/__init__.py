"""A stack's configuration as one typed tree."""

from __future__ import annotations

from headrace.settings.tree import Settings, Stage

__all__ = ["Settings", "Stage"]
