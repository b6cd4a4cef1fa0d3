"""The pack through the real engine: what blocks, what names an unknown value, what no skipped preview skips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.audit import waiver_uses
from headrace_sandbox.service import SandboxContext
from tests.conftest import ROOT, MakeStack

pytestmark = pytest.mark.engine

PACK = ROOT / "policies"
LOOSE = """
    import pulumi_aws as aws

    aws.kms.Key("still", description="never rotates")
    """


def test_a_resource_by_hand_is_held_to_the_rules_before_it_is_made(stack: MakeStack, sandbox: SandboxContext) -> None:
    one = stack(LOOSE, policy_packs=(PACK,))
    done = one.preview(check=False)
    assert done.returncode != 0
    assert "key-without-rotation" in done.stdout
    assert "To fix: set enableKeyRotation to true" in done.stdout


def test_skipping_the_preview_does_not_skip_the_gate(stack: MakeStack, sandbox: SandboxContext) -> None:
    one = stack(LOOSE, policy_packs=(PACK,))
    done = one.run("up", "--yes", "--skip-preview", check=False)
    assert done.returncode != 0
    assert "key-without-rotation" in done.stdout
    assert not [made for made in one.resources() if made["type"] == "aws:kms/key:Key"], "nothing may have been made"


def test_an_unknown_value_is_a_finding_of_its_own_that_blocks(stack: MakeStack, sandbox: SandboxContext) -> None:
    program = """
        import pulumi_aws as aws

        key = aws.kms.Key("key", enable_key_rotation=True)
        aws.ec2.Instance("node", ami="ami-1", instance_type="m7i.large",
                         metadata_options={"http_tokens": key.arn.apply(lambda arn: "required")})
        """
    done = stack(program, policy_packs=(PACK,)).preview(check=False)
    assert done.returncode != 0, "the SDK alone would have turned this into advice"
    assert "undecidable at preview" in done.stdout
    assert "metadataOptions.httpTokens" in done.stdout


@pytest.mark.parametrize("config", ["inference:region: mars-1", "inference:stage: live"])
def test_settings_that_cannot_be_read_refuse_everything(stack: MakeStack, sandbox: SandboxContext, config: str) -> None:
    program = 'import pulumi_aws as aws\naws.kms.Key("key", enable_key_rotation=True)\n'
    done = stack(program, policy_packs=(PACK,), config=config).preview(check=False)
    assert done.returncode != 0
    assert "settings can't be read, so nothing can be judged" in done.stdout


def test_a_malformed_waiver_file_refuses_everything(stack: MakeStack, sandbox: SandboxContext, tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text("waivers:\n  - policy: imds-v1\n", encoding="utf-8")
    program = 'import pulumi_aws as aws\naws.kms.Key("key", enable_key_rotation=True)\n'
    one = stack(program, policy_packs=(PACK,), variables={"HEADRACE_POLICY_WAIVERS": str(waivers)})
    done = one.preview(check=False)
    assert done.returncode != 0
    assert "waivers can't be read" in done.stdout


def test_a_waiver_lets_its_resource_through_and_is_told(
    stack: MakeStack, sandbox: SandboxContext, tmp_path: Path
) -> None:
    waivers, report = tmp_path / "waivers.yaml", tmp_path / "report.jsonl"
    waivers.write_text(
        "waivers:\n  - {policy: key-without-rotation, resource: still, reason: imported material follows soon, "
        "approver: a, ticket: T-1, expires: 2027-01-01}\n",
        encoding="utf-8",
    )
    variables = {
        "HEADRACE_POLICY_WAIVERS": str(waivers),
        "HEADRACE_POLICY_REPORT": str(report),
        "HEADRACE_POLICY_TODAY": "2026-11-21",
        "HEADRACE_AUDIT_DIR": str(tmp_path / "audit"),
    }
    one = stack(LOOSE, policy_packs=(PACK,), variables=variables)
    done = one.preview(check=False)
    assert done.returncode == 0, done.stdout
    assert "waived key-without-rotation on still by a (T-1) until 2027-01-01" in done.stdout + done.stderr
    (record,) = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    assert record["waiver"]["ticket"] == "T-1"
    assert one.run("up", "--yes").returncode == 0
    uses = [use for _, use in waiver_uses.read(tmp_path / "audit" / waiver_uses.FILE)]
    assert [use.run for use in uses] == ["preview", "preview", "update"], "each run that the waiver let through counts"
    assert {(use.policy, use.ticket, use.stack) for use in uses} == {("key-without-rotation", "T-1", one.name)}


def test_the_deployed_state_is_checked_without_its_program(stack: MakeStack, sandbox: SandboxContext) -> None:
    one = stack(LOOSE)
    one.run("up", "--yes", "--skip-preview")
    argv = [str(one.engine.path), "policy", "analyze", "--policy-pack", str(PACK), "--stack", one.name]
    import subprocess

    done = subprocess.run(argv, cwd=one.project, env=one.environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "key-without-rotation" in done.stdout + done.stderr
