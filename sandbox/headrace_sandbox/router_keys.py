"""API keys of the stack `sandbox`, in the open: they let in whoever reaches the loopback interface, and nobody else.

The stack file holds their hashes under `inference:router`, as every stack file does; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KEYS: Final[Mapping[str, str]] = {
    "assistant-1": "hr_assistant-1_sandbox-only-opens-nothing-else",
    "summaries-1": "hr_summaries-1_sandbox-only-opens-nothing-else",
    "answers-1": "hr_answers-1_sandbox-only-opens-nothing-else",
}
"""Name of the key -> key."""
