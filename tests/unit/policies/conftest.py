"""Runs of the pack in tests record uses of waivers in the test's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.audit import waiver_uses
from headrace_policies import session


@pytest.fixture(autouse=True)
def record_of_waivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uses are recorded."""
    monkeypatch.setenv(waiver_uses.DIRECTORY_VARIABLE, str(tmp_path / "audit"))
    monkeypatch.setattr(session, "_RECORDED", {})
    return tmp_path / "audit" / waiver_uses.FILE
