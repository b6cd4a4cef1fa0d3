"""The init container's script, against S3 as moto plays it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from headrace_components.runtime.fetch_release import (
    ReleaseError,
    fetch,
    local_path,
    main,
    release_digest,
    split_uri,
)

FILES = {"config.json": b"{}", "model-00001.safetensors": b"\x00" * 70_000, "tokenizer/vocab.json": b"[1]"}
URI = "s3://models/llama/2026-10-02"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_by_hand(files: dict[str, bytes]) -> str:
    listing = b"".join(f"{sha256(content)}  {path}\n".encode() for path, content in sorted(files.items()))
    return "sha256:" + sha256(listing)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        for path, content in FILES.items():
            client.put_object(Bucket="models", Key=f"llama/2026-10-02/{path}", Body=content)
        client.put_object(Bucket="models", Key="llama/2026-10-02-draft/config.json", Body=b"other")
        yield client


def test_a_release_arrives_whole_and_only_it(s3: Any, tmp_path: Path) -> None:
    assert fetch(s3, URI, digest_by_hand(FILES), tmp_path) == 3
    found = {
        str(file.relative_to(tmp_path)): file.read_bytes()
        for file in tmp_path.rglob("*")
        if file.is_file() and file.name != ".release-digest"
    }
    assert found == FILES, "a neighbour with the same beginning of its name is another release"


def test_a_release_that_was_changed_after_it_was_recorded_is_refused_and_removed(s3: Any, tmp_path: Path) -> None:
    expected = digest_by_hand(FILES)
    s3.put_object(Bucket="models", Key="llama/2026-10-02/config.json", Body=b"{1}")
    with pytest.raises(ReleaseError, match="it was changed after it was recorded"):
        fetch(s3, URI, expected, tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()], "no server may start on these bytes"


def test_an_added_object_changes_the_release_too(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="models", Key="llama/2026-10-02/extra.py", Body=b"import os")
    with pytest.raises(ReleaseError):
        fetch(s3, URI, digest_by_hand(FILES), tmp_path)


def test_a_second_start_on_the_same_disk_fetches_nothing(s3: Any, tmp_path: Path) -> None:
    fetch(s3, URI, digest_by_hand(FILES), tmp_path)
    assert fetch(None, URI, digest_by_hand(FILES), tmp_path) == 0


def test_a_release_of_one_object_has_the_digest_of_its_bytes(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="models", Key="one.gguf", Body=b"weights")
    assert fetch(s3, "s3://models/one.gguf", "sha256:" + sha256(b"weights"), tmp_path) == 1
    assert (tmp_path / "one.gguf").read_bytes() == b"weights"


def test_a_release_that_is_not_there_is_said_so(s3: Any, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="nothing is stored at s3://models/absent"):
        fetch(s3, "s3://models/absent", "sha256:00", tmp_path)


def test_an_object_cannot_be_written_outside_of_the_target(tmp_path: Path) -> None:
    for path in ("../evil", "/etc/passwd", "a/../../evil"):
        with pytest.raises(ReleaseError, match="outside"):
            local_path(tmp_path, path, "key")


def test_the_entry_point_says_in_one_line_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ARTIFACT_URI", raising=False)
    assert main() == 1
    assert capsys.readouterr().err == "fetch_release: ARTIFACT_URI is not set\n"


def test_the_entry_point_fetches_by_its_environment(
    s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("URI", URI), ("DIGEST", digest_by_hand(FILES))):
        monkeypatch.setenv(f"ARTIFACT_{name}", value)
    monkeypatch.setenv("TARGET_DIR", str(tmp_path))
    assert main() == 0
    assert "3 objects fetched" in capsys.readouterr().out


def test_uris_that_name_no_object_are_refused() -> None:
    for uri in ("https://models/x", "s3://models", "s3://models/", "s3:///x"):
        with pytest.raises(ReleaseError):
            split_uri(uri)


@given(st.dictionaries(st.text("abc/.", min_size=1, max_size=6), st.binary(max_size=8), min_size=1, max_size=4))
def test_the_digest_is_that_of_the_sorted_listing_whatever_the_order(files: dict[str, bytes]) -> None:
    digests = {path: sha256(content) for path, content in files.items()}
    backwards = dict(reversed(list(digests.items())))
    assert release_digest(digests) == release_digest(backwards) == digest_by_hand(files)
