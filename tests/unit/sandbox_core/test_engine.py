"""Which engine is taken, what the engine's environment holds, and what is read from its events."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import Refused
from headrace_sandbox import checkout, deploy_events, engine, environment, stack_config, supervise
from headrace_sandbox.deploy_events import Progress
from headrace_sandbox.stack import Stack
from headrace_sandbox.supervise_ports import write_json

RANGE = ">=3.259.0 <4.0.0"


@pytest.mark.parametrize(
    ("version", "fits"),
    [("3.259.0", True), ("v3.270.1", True), ("3.258.9", False), ("4.0.0", False), ("3.300.0-alpha.1", True)],
)
def test_a_version_fits_when_every_comparison_holds(version: str, fits: bool) -> None:
    parsed = engine.parse_version(version)
    assert parsed is not None
    assert engine.satisfies(parsed, RANGE) is fits


@given(st.tuples(*[st.integers(0, 500)] * 3), st.tuples(*[st.integers(0, 500)] * 3))
def test_comparisons_agree_with_the_order_of_versions(version: engine.Version, limit: engine.Version) -> None:
    text = ".".join(map(str, limit))
    assert engine.satisfies(version, f">={text}") is (version >= limit)
    assert engine.satisfies(version, f"<{text}") is (version < limit)
    assert engine.satisfies(version, text) is (version == limit)


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match=r"requiredPulumiVersion is 'latest': 'latest' is not a comparison"):
        engine.satisfies((3, 259, 0), "latest")


def fake_pulumi(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / "pulumi"
    engine.write_script(binary, f"#!/bin/sh\necho v{version}\n")
    return binary


def test_pulumi_on_path_is_used_when_the_project_accepts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Pulumi.yaml").write_text(f'name: x\nruntime: python\nrequiredPulumiVersion: "{RANGE}"\n')
    binary = fake_pulumi(tmp_path / "bin", "3.260.2")
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")
    found = engine.find(tmp_path)
    assert (found.path, found.version, found.source) == (binary, "3.260.2", "PATH")
    assert found.language_host is None


def test_the_official_language_host_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    binary = fake_pulumi(tmp_path / "bin", "3.260.2")
    official = binary.with_name(engine.LANGUAGE_HOST)
    engine.write_script(official, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")
    found = engine.find(tmp_path)
    assert found.language_host == official
    assert found.search_path() == [binary.parent], "ours is not put beside it"


def test_an_engine_that_does_not_fit_and_our_own_wrapper_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Pulumi.yaml").write_text(f'name: x\nruntime: python\nrequiredPulumiVersion: "{RANGE}"\n')
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    old = fake_pulumi(tmp_path / "old", "3.100.0")
    wrapper = tmp_path / "venv" / "pulumi"
    engine.write_script(wrapper, '#!/bin/sh\nexec python -m headrace_sandbox.wrapper "$@"\n')
    kept = fake_pulumi(tmp_path / "cache" / "engine" / "3.261.0" / "bin", "3.261.0")
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{old.parent}:/usr/bin:/bin")
    found = engine.find(tmp_path)
    assert (found.path, found.source) == (kept, "vendor installer")


def test_an_unreadable_project_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: [")
    with pytest.raises(Refused, match=r"Pulumi\.yaml: it is not readable YAML"):
        checkout.required_version(tmp_path)


def test_the_engine_finds_only_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "real")
    context = supervise.open_context(tmp_path / "sandbox")
    write_json(context.directory / "endpoints.json", {"aws": "http://127.0.0.1:1"})
    found = engine.Engine(path=tmp_path / "pulumi", version="3.259.0", source="test", language_host=tmp_path / "host")
    whole = environment.process_environment(context, found=found)
    assert whole["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "PULUMI_ACCESS_TOKEN"} & set(whole), "the user's accounts stay out"
    assert whole["PULUMI_BACKEND_URL"] == f"file://{tmp_path / 'state'}?metadata=skip"
    assert whole["PATH"].split(os.pathsep)[0] == str(context.bin)
    passphrase = Path(whole["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    assert len(passphrase.read_text()) >= 32
    again = environment.process_environment(context, found=found)
    assert Path(again["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text() == passphrase.read_text()


def test_a_stack_that_is_made_on_the_way_is_not_selected_and_leaves_its_file_alone(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    committed = tmp_path / "Pulumi.dev.yaml"
    committed.write_text("config:\n  x:a: 1\n")
    pulumi = tmp_path / "pulumi"
    script = f'#!/bin/sh\necho "$@" > {tmp_path}/argv\n'
    script += f'[ -f {tmp_path}/made ] && echo "error: stack already exists" >&2 && exit 255\n'
    engine.write_script(pulumi, script + f"touch {tmp_path}/made\necho 'encryptionsalt: v1:abc' >> {committed}\n")
    found = engine.Engine(path=pulumi, version="3.259.0", source="test", language_host=tmp_path / "host")
    context = supervise.open_context(tmp_path / "run" / "sandbox")
    stack = Stack(name="dev", project=tmp_path, context=context, engine=found)
    stack.ensure(select=False)
    stack.ensure(select=False)
    assert (tmp_path / "argv").read_text().split() == ["stack", "init", "--no-select", "dev", "--non-interactive"]
    assert committed.read_text() == "config:\n  x:a: 1\n"
    copy = stack_config.working_copy(tmp_path, "dev", tmp_path / "run")
    assert copy is not None
    assert "encryptionsalt: v1:abc" in copy.read_text(), "the salt of the stack is kept where the engine reads it"


def test_a_stack_that_the_backend_has_costs_no_command(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\n")
    pulumi = tmp_path / "pulumi"
    engine.write_script(pulumi, f"#!/bin/sh\necho run >> {tmp_path}/runs\n")
    found = engine.Engine(path=pulumi, version="3.259.0", source="test", language_host=tmp_path / "host")
    context = supervise.open_context(tmp_path / "run" / "sandbox")
    kept = tmp_path / "run" / "state" / ".pulumi" / "stacks" / "x"
    kept.mkdir(parents=True)
    (kept / "other.json").write_text("{}")
    stack = Stack(name="dev", project=tmp_path, context=context, engine=found)
    stack.ensure(select=False)
    assert (tmp_path / "runs").read_text().split() == ["run"], "the backend has another stack only"
    (kept / "dev.json").write_text("{}")
    stack.ensure(select=False)
    assert (tmp_path / "runs").read_text().split() == ["run"]
    stack.ensure()
    assert (tmp_path / "runs").read_text().split() == ["run", "run"], "only the engine can select"


def test_the_salt_stays_in_the_copy_and_the_rest_follows_the_committed_file(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\nstackConfigDir: stacks\n")
    (tmp_path / "stacks").mkdir()
    committed = tmp_path / "stacks" / "Pulumi.dev.yaml"
    committed.write_text("config:\n  x:a: 1\n")
    base = tmp_path / "base"
    copy = stack_config.working_copy(tmp_path, "dev", base)
    assert copy is not None
    copy.write_text(copy.read_text() + "encryptionsalt: v1:abc\n")
    committed.write_text("config:\n  x:a: 2\n")
    assert stack_config.working_copy(tmp_path, "dev", base) == copy
    assert copy.read_text() == "config:\n  x:a: 2\nencryptionsalt: v1:abc\n"
    committed.write_text("secretsprovider: awskms://alias/x\nconfig:\n  x:a: 2\n")
    assert stack_config.working_copy(tmp_path, "dev", base) == committed, "its own secrets provider is used"
    assert stack_config.working_copy(tmp_path, "absent", base) is None


@pytest.mark.parametrize("arguments", [["up", "-s", "dev"], ["--stack=dev", "up"], ["up", "--stack", "dev", "--yes"]])
def test_the_stack_of_a_command_line_is_found(arguments: list[str], tmp_path: Path) -> None:
    assert stack_config.chosen_stack(tmp_path / "none", arguments, {}) == "dev"


URN = "urn:pulumi:s::p::headrace:index:GpuCluster$aws:eks/cluster:Cluster::gpu"


def step(kind: str, op: str) -> dict[str, object]:
    return {kind: {"metadata": {"op": op, "urn": URN, "new": {"custom": True}}}}


def test_progress_counts_what_is_done_and_names_what_takes_long() -> None:
    seen = Progress()
    seen.observe({"summaryEvent": {"isPreview": True, "resourceChanges": {"create": 3, "same": 1}}}, now=0)
    seen.observe(step("resourcePreEvent", "create"), now=10)
    assert seen.line(now=25) == "0 of 4 resources done; under way: aws:eks/cluster:Cluster gpu (15 s)"
    seen.observe(step("resOutputsEvent", "create"), now=30)
    assert seen.line(now=31) == "1 of 4 resources done"
    assert seen.changed() == 3, "what stays the same is no change"


def test_a_finding_of_preview_and_update_counts_once() -> None:
    event = {
        "policyEvent": {
            "policyPackName": "headrace",
            "policyName": "gpu-nodes",
            "enforcementLevel": "advisory",
            "resourceUrn": URN,
            "message": "no",
        }
    }
    seen = Progress()
    seen.observe(event, now=0)
    seen.observe(event, now=1)
    assert (seen.count("advisory"), seen.count("mandatory")) == (1, 0)


def test_debug_messages_are_not_kept() -> None:
    seen = Progress()
    for severity in ("debug", "info"):
        seen.observe({"diagnosticEvent": {"severity": severity, "message": "token=s3cret"}}, now=0)
    seen.observe({"diagnosticEvent": {"severity": "error", "message": "no quota\n", "urn": URN}}, now=0)
    assert seen.messages == ["error: aws:eks/cluster:Cluster gpu: no quota"]


def test_a_urn_shows_its_own_type_and_name() -> None:
    assert deploy_events.name_of(URN) == "aws:eks/cluster:Cluster gpu"
    assert deploy_events.name_of("urn:pulumi:s::p::a:b:C::x::y") == "a:b:C x::y"
    assert deploy_events.name_of("") == ""
