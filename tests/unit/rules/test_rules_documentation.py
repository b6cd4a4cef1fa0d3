"""The manual is what the code says."""

from __future__ import annotations

from pathlib import Path

from headrace.rules import docs

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "policies"
BY_HAND = {"waivers.md", "config.md", "check.md", "benchmark.md"}


def test_every_page_is_as_generated() -> None:
    for name, content in docs.pages().items():
        written = (FOLDER / name).read_text(encoding="utf-8")
        assert written == content, f"run `python -m headrace.rules.docs`: {name} is not what the code says"


def test_no_page_is_left_of_a_rule_that_is_gone() -> None:
    assert {file.name for file in FOLDER.glob("*.md")} == {*docs.pages(), *BY_HAND}
