"""The Azure conversation trace (Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv, 2023, CC-BY-4.0) as requests.

The file is not part of the project: it is read where it lies, and there is no trace where it doesn't.
"""

from __future__ import annotations

import csv
import gzip
import os
import random
from datetime import datetime
from pathlib import Path
from typing import Final

from headrace.router.config import RouterConfig
from headrace.settings.releases import WorkloadClass
from headrace.traffic.day import USERS, Ask, Callers, owners_of

FILE: Final = Path("azure-llm-2023") / "AzureLLMInferenceTrace_conv.csv.gz"
SOURCE: Final = "Azure LLM inference trace 2023, conversations (AzurePublicDataset, CC-BY-4.0)"
_SECONDS_DIGITS: Final = 26  # the trace has seven digits after the point, datetime reads six


def find(root: Path) -> Path | None:
    """The trace under $HEADRACE_DATA, else beside the checkout `root`; None where there is none."""
    own = os.environ.get("HEADRACE_DATA")
    file = (Path(own) if own else root.parent / "shared" / "data") / FILE
    return file if file.is_file() else None


def azure(
    file: Path, policy: RouterConfig, callers: Callers, *, seconds: float, rate: float = 1.0, seed: int = 7
) -> list[Ask]:
    """The first `seconds` of the trace as chat requests of the configuration's projects, `rate` times as fast.

    Times, prompt and answer lengths are the trace's; who asks, and whether it streams, is not in it and is made up.
    """
    names = [
        name
        for name, config in policy.workloads.items()
        if config.workload_class is WorkloadClass.LATENCY_SENSITIVE and owners_of(policy, callers, name)
    ]
    if not names:
        return []
    owners = owners_of(policy, callers, names[0])
    rng = random.Random(seed)  # noqa: S311 - made-up labels, not secrets
    most = policy.workloads[names[0]].context_tokens
    asks: list[Ask] = []
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        first: datetime | None = None
        for row in rows:
            when = datetime.fromisoformat(row["TIMESTAMP"][:_SECONDS_DIGITS])
            first = first or when
            at = (when - first).total_seconds() / rate
            if at >= seconds:
                break
            answer = max(1, min(int(row["GeneratedTokens"]), 1024))
            tenant, project, _ = rng.choices(owners, [one[2] or 8 for one in owners])[0]
            asks.append(
                Ask(
                    at_s=at,
                    tenant=tenant,
                    project=project,
                    user=f"{project}-{rng.randrange(USERS)}",
                    workload=names[0],
                    endpoint="chat.completions",
                    stream=True,
                    tokens_in=max(1, min(int(row["ContextTokens"]), most - 1024 - 16)),
                    max_tokens=1024,
                    answer_tokens=answer,
                    text_seed=rng.randrange(1 << 30),
                    feature="azure-trace",
                )
            )
    return asks
