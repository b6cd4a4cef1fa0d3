"""`headrace settings` and `headrace release` as a user types them."""

from __future__ import annotations

import difflib
import json
import shutil
from pathlib import Path

import pytest

from headrace.cli.main import main

ROOT = Path(__file__).parents[3]
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "stacks" / "Pulumi.dev.yaml", tmp_path))


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as left:
        main(list(argv))
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def release(stack: Path, name: str = "qwen-7b", **changes: str) -> list[str]:
    options = {
        "artifact-uri": "s3://acme-dev-models/qwen/1",
        "artifact-digest": DIGEST,
        "image": f"docker.io/vllm/vllm-openai@{DIGEST}",
        "cuda": "12.8",
        "weights-gib": "15",
        "kv-cache-kib-per-token": "56",
        "max-context-tokens": "8192",
        "settings": str(stack),
    } | {key.replace("_", "-"): value for key, value in changes.items()}
    return ["release", "add", name, *(part for key, value in options.items() for part in (f"--{key}", value))]


@pytest.mark.parametrize("source", sorted((ROOT / "stacks").glob("Pulumi.*.yaml")), ids=lambda path: path.name)
def test_adding_a_release_only_adds_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path, source: Path) -> None:
    stack = Path(shutil.copy(source, tmp_path))
    before = stack.read_text(encoding="utf-8")
    environment = source.name.split(".")[1]
    code, out, _ = run(capsys, *release(stack, artifact_uri=f"s3://acme-{environment}-models/qwen/1"))
    assert (code, out) == (0, f"{stack}: recorded release qwen-7b\n")
    after = stack.read_text(encoding="utf-8")
    changed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-?"]
    assert len(changed) == 8, "comments, flow style and all other keys stay as they are"
    assert all(line.startswith("+") for line in changed)
    assert [path.name for path in tmp_path.iterdir()] == [source.name], "nothing is left beside it"


def test_adding_twice_changes_nothing(capsys: pytest.CaptureFixture[str], stack: Path) -> None:
    run(capsys, *release(stack))
    once = stack.read_bytes()
    code, out, _ = run(capsys, *release(stack), "--json")
    assert code == 0
    assert json.loads(out)["changed"] is False
    assert stack.read_bytes() == once


def test_a_release_never_changes_its_meaning(capsys: pytest.CaptureFixture[str], stack: Path) -> None:
    run(capsys, *release(stack))
    once = stack.read_bytes()
    code, _, err = run(capsys, *release(stack, artifact_digest=OTHER, cuda="13.0"))
    assert code == 2
    assert err == (
        "headrace: releases.qwen-7b: the name is taken by a release that differs in artifactDigest, cudaVersion, "
        "because releases are immutable: audit records and roll-backs refer to them by name; record the new one under "
        "another name and point the workload to it.\n"
    )
    assert stack.read_bytes() == once


@pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.14.2", "vllm/vllm-openai:latest", "vllm/vllm-openai"])
def test_a_mutable_tag_is_refused_with_its_reason(capsys: pytest.CaptureFixture[str], stack: Path, image: str) -> None:
    before = stack.read_bytes()
    code, _, err = run(capsys, *release(stack, image=image))
    assert code == 2
    assert err == (
        f"headrace: releases.qwen-7b.image is {image!r}: a release needs its image by digest, "
        "repository@sha256:<64 hex digits>, because a tag can be moved to another image, and then the same release "
        "runs different code in the two halves of the stack and can't be rolled back to; resolve it with "
        f"`docker buildx imagetools inspect {image}` and pass the digest.\n"
    )
    assert stack.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"artifact_digest": "sha256:abc"}, "a digest must be 'sha256:' and 64 lower-case hexadecimal digits"),
        ({"artifact_digest": "sha256:" + "A" * 64}, "a digest must be 'sha256:' and 64 lower-case"),
        ({"image": "vllm@sha256:12"}, "an image must be given by digest"),
        ({"artifact_uri": "https://example.com/x"}, "it must be s3://<bucket>/<prefix>"),
        ({"artifact_uri": "s3://elsewhere/x"}, "it must lie in the model store's bucket acme-dev-models"),
        ({"cuda": "twelve"}, "it must be a version such as '12.8'"),
        ({"weights_gib": "nan"}, "it must be"),
        ({"weights_gib": "-1"}, "it must be more than 0"),
        ({"name": "Not A Name"}, "a name must be 1 to 20 lower-case letters"),
        ({"settings": "/nowhere/Pulumi.dev.yaml"}, "there is no such file"),
    ],
)
def test_a_bad_release_is_refused_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], stack: Path, change: dict[str, str], said: str
) -> None:
    before = stack.read_bytes()
    code, _, err = run(capsys, *release(stack, **change))
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert stack.read_bytes() == before


def test_the_first_release_of_a_file_finds_its_place(capsys: pytest.CaptureFixture[str], stack: Path) -> None:
    text = stack.read_text(encoding="utf-8")
    head, rest = text.split("  inference:releases:\n")
    tenants = rest.split("  inference:tenants:\n")[1].replace("gpus: 2", "gpus: 0")  # no pools are left to fill it
    stack.write_text(head + "  inference:tenants:\n" + tenants, encoding="utf-8")
    assert run(capsys, *release(stack))[0] == 0
    code, out, _ = run(capsys, "release", "list", "--settings", str(stack), "--json")
    assert code == 0
    assert json.loads(out)["qwen-7b"]["cudaVersion"] == "12.8"


def test_show_prints_one_release(capsys: pytest.CaptureFixture[str], stack: Path) -> None:
    code, out, _ = run(capsys, "release", "show", "llama-3-1-8b-bf16", "--settings", str(stack))
    assert code == 0
    assert "  cudaVersion: 12.8\n" in out
    code, _, err = run(capsys, "release", "show", "llama", "--settings", str(stack))
    assert code == 2
    assert "has no release of that name" in err


def test_validate_says_valid_and_fails_on_a_problem(capsys: pytest.CaptureFixture[str], stack: Path) -> None:
    assert run(capsys, "settings", "validate", str(stack)) == (0, f"{stack}: valid\n", "")
    stack.write_text(
        stack.read_text(encoding="utf-8").replace("zones: [eu-west-1a, eu-west-1b]", "zones: [eu-west-1a, us-east-1b]"),
        encoding="utf-8",
    )
    code, _, err = run(capsys, "settings", "validate", str(stack))
    assert code == 2
    assert err == (
        f"{stack}: 1 problem\n"
        "  network.zones[1] is 'us-east-1b': it must be a zone of the region eu-west-1, because a subnet can't lie in "
        "another region than its VPC; choose among eu-west-1a, eu-west-1b, eu-west-1c.\n"
    )
    code, out, _ = run(capsys, "settings", "validate", str(stack), "--json")
    assert code == 2
    report = json.loads(out)
    assert report["valid"] is False
    assert report["files"][0]["problems"][0]["path"] == "network.zones[1]"


@pytest.mark.parametrize(
    "key",
    ["dedicatedPools.ceilingNodes", "dedicatedPools.chat-floor.ceilingNodes", "inference:dedicatedPools.ceilingNodes"],
)
def test_explain_takes_a_key_with_or_without_entry_names(capsys: pytest.CaptureFixture[str], key: str) -> None:
    code, out, _ = run(capsys, "settings", "explain", key)
    assert code == 0
    assert "Most nodes." in out


def test_explain_suggests_the_nearest_key(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "settings", "explain", "network.zone")
    assert code == 2
    assert "did you mean 'zones'?" in err


def test_schema_prints_what_is_committed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "settings", "schema")
    assert code == 0
    assert out == (ROOT / "schemas" / "stack.schema.json").read_text(encoding="utf-8")
