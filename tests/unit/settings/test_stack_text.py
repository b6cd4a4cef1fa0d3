"""Changing a stack file leaves no trace but the change, and none at all where it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from headrace.errors import Refused
from headrace.settings.stack_text import open_stack, replace_file

STACKS = Path(__file__).resolve().parents[3] / "stacks"


@pytest.mark.parametrize("source", sorted(STACKS.glob("Pulumi.*.yaml")), ids=lambda path: path.name)
def test_saving_an_unchanged_stack_changes_no_byte(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / source.name
    shutil.copy(source, copy)
    open_stack(copy).save()
    assert copy.read_text(encoding="utf-8") == source.read_text(encoding="utf-8")


def test_a_result_that_is_not_valid_is_refused_and_the_file_left_alone(tmp_path: Path) -> None:
    copy = tmp_path / "Pulumi.dev.yaml"
    shutil.copy(STACKS / copy.name, copy)
    before = copy.read_bytes()
    stack = open_stack(copy)
    stack.config["inference:region"] = "mars-1"
    with pytest.raises(Refused, match="region"):
        stack.save()
    assert copy.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [copy.name], "nothing is left beside it"


def test_a_replaced_file_keeps_its_mode_and_a_new_one_can_be_read_by_others(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_bytes(b"old")
    private.chmod(0o600)
    replace_file(private, b"new")
    assert (private.read_bytes(), private.stat().st_mode & 0o777) == (b"new", 0o600)
    replace_file(tmp_path / "report", b"x")
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_not_there_is_refused_in_the_users_words(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"--out is '?.*nowhere.*can't be written.*no such file"):
        replace_file(tmp_path / "nowhere" / "x", b"", option="--out")
