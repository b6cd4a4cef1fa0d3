"""Fetches a model release from S3 and proves that it is the one that was asked for.

Runs as an init container of the model server, in the release's own image, so it needs only the standard library and
boto3. The digest of a release of one object is the SHA-256 of its bytes. The digest of a release of several is the
SHA-256 of the text that lists them, one line `<sha256 in hex>  <path below the prefix>` each, sorted by path.

Environment: ARTIFACT_URI (s3://bucket/key or prefix), ARTIFACT_DIGEST (sha256:…), TARGET_DIR. Credentials come from EKS
Pod Identity. Exit code 0: TARGET_DIR holds the release; 1: it doesn't, and standard error says why in one line.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

CHUNK_BYTES = 8 * 1024 * 1024
PARALLEL_OBJECTS = 8
DONE = ".release-digest"


class ReleaseError(Exception):
    """The release could not be fetched, or is not the one that was asked for."""


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key.rstrip("/"):
        raise ReleaseError(f"ARTIFACT_URI {uri!r} is not of the form s3://bucket/key")
    return bucket, key.rstrip("/")


def release_digest(digests: Mapping[str, str]) -> str:
    """Digest of a release from the hex digest of each path; the path "" stands for a release of a single object."""
    if set(digests) == {""}:
        return "sha256:" + digests[""]
    listing = "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
    return "sha256:" + hashlib.sha256(listing.encode()).hexdigest()


def objects(s3: Any, bucket: str, key: str) -> Iterator[str]:
    """Paths below the prefix `key`; "" alone where `key` is an object itself."""
    found = False
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
        for item in page.get("Contents", []):
            name = str(item["Key"])
            if name == key:
                found = True
                yield ""
            elif name.startswith(f"{key}/") and not name.endswith("/"):
                found = True
                yield name[len(key) + 1 :]
    if not found:
        raise ReleaseError(f"nothing is stored at s3://{bucket}/{key}")


def local_path(target: Path, path: str, key: str) -> Path:
    """Where an object goes; never outside `target`, whatever its key says."""
    relative = PurePosixPath(path or PurePosixPath(key).name)
    if relative.is_absolute() or ".." in relative.parts:
        raise ReleaseError(f"the object {path!r} would be written outside of {target}")
    return target / relative


def fetch_object(s3: Any, bucket: str, key: str, path: str, target: Path) -> str:
    """Writes one object and returns the hex digest of its bytes. A partly written file never has the final name."""
    destination = local_path(target, path, key)
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(destination.name + ".partial")
    digest = hashlib.sha256()
    body = s3.get_object(Bucket=bucket, Key=f"{key}/{path}" if path else key)["Body"]
    with partial.open("wb") as file:
        for chunk in iter(lambda: body.read(CHUNK_BYTES), b""):
            digest.update(chunk)
            file.write(chunk)
    partial.replace(destination)
    return digest.hexdigest()


def fetch(s3: Any, uri: str, expected: str, target: Path) -> int:
    """Fetches the release into `target` and returns how many objects it has. Does nothing where it is there already."""
    marker = target / DONE
    if marker.exists() and marker.read_text(encoding="ascii").strip() == expected:
        return 0
    bucket, key = split_uri(uri)
    paths = sorted(objects(s3, bucket, key))
    with ThreadPoolExecutor(max_workers=PARALLEL_OBJECTS) as pool:
        digests = dict(
            zip(paths, pool.map(lambda path: fetch_object(s3, bucket, key, path, target), paths), strict=True)
        )
    actual = release_digest(digests)
    if actual != expected:
        for path in paths:
            local_path(target, path, key).unlink(missing_ok=True)
        raise ReleaseError(
            f"{uri} has the digest {actual}, the release says {expected}: it was changed after it was recorded"
        )
    marker.write_text(expected + "\n", encoding="ascii")
    return len(paths)


def main() -> int:
    """Entry point of the init container."""
    try:
        uri, expected, target = (os.environ[name] for name in ("ARTIFACT_URI", "ARTIFACT_DIGEST", "TARGET_DIR"))
    except KeyError as missing:
        sys.stderr.write(f"fetch_release: {missing.args[0]} is not set\n")
        return 1
    import boto3  # the release's image brings it; importing it here keeps the pure parts testable without

    try:
        count = fetch(boto3.client("s3"), uri, expected, Path(target))
    except Exception as error:  # one line for the pod's status, whatever went wrong
        sys.stderr.write(f"fetch_release: {error}\n")
        return 1
    sys.stdout.write(f"fetch_release: {expected} complete, {count} objects fetched\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
