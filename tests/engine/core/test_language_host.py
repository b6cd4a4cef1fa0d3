"""Our language host under the real engine: programs, failures, policy packs with the stack's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import MakeStack

pytestmark = pytest.mark.engine

PROGRAM = """
    import pulumi

    config = pulumi.Config()
    pulumi.export("greeting", config.get("greeting"))
    pulumi.export("token", config.require_secret("token"))
"""
PACK = {
    "PulumiPolicy.yaml": "runtime: python\nversion: 0.0.1\n",
    "__main__.py": """
import json
import os

from pulumi import Config
from pulumi_policy import EnforcementLevel, PolicyPack, StackValidationPolicy


def validate(args, report):
    seen = {
        "greeting": Config("inference").get("greeting"),
        "stack": os.environ["PULUMI_STACK"],
        "project": os.environ["PULUMI_PROJECT"],
        "dry_run": os.environ["PULUMI_DRY_RUN"],
        "organization": os.environ["PULUMI_ORGANIZATION"],
    }
    report("seen " + json.dumps(seen, sort_keys=True))


PolicyPack(
    name="probe",
    enforcement_level=EnforcementLevel.MANDATORY if os.environ.get("PROBE") == "strict" else EnforcementLevel.ADVISORY,
    policies=[StackValidationPolicy(name="probe", description="says what it sees", validate=validate)],
)
""",
}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "pack"
    folder.mkdir()
    for name, text in PACK.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_program_gets_its_configuration_and_its_outputs_are_kept(stack: MakeStack) -> None:
    made = stack(PROGRAM, config="inference:greeting: hello\ninference:token:\n  secure: ''")
    made.run("config", "set", "--secret", "token", "s3cret-token")
    made.up()
    assert made.outputs()["greeting"] == "hello"
    assert made.outputs(show_secrets=True)["token"] == "s3cret-token"
    assert "s3cret-token" not in json.dumps(made.state()), "a secret is never in plain text in the state"
    assert made.changes() == {"same": 1}


def test_a_refusal_in_a_program_reads_as_its_sentence(stack: MakeStack) -> None:
    made = stack("""
        from headrace.errors import refuse

        raise refuse("inference:region", "moon-1", "there is no such region", next_step="name one of AWS's regions")
    """)
    done = made.preview(check=False)
    assert done.returncode != 0
    shown = done.stdout + done.stderr
    assert "inference:region is 'moon-1': there is no such region; name one of AWS's regions." in shown
    assert "Traceback" not in shown


def test_a_fault_in_a_program_shows_where_it_is(stack: MakeStack) -> None:
    done = stack("import pulumi\nraise KeyError('floor')").preview(check=False)
    assert done.returncode != 0
    shown = done.stdout + done.stderr
    assert "KeyError: 'floor'" in shown
    assert "__main__.py" in shown


def test_a_policy_pack_sees_the_configuration_of_the_stack(stack: MakeStack, pack: Path) -> None:
    made = stack("import pulumi", name="probe", config="inference:greeting: hello", policy_packs=(pack,))
    shown = made.preview().stdout
    wanted = {
        "dry_run": "true",
        "greeting": "hello",
        "organization": "organization",
        "project": "inference",
        "stack": "probe",
    }
    assert f"seen {json.dumps(wanted, sort_keys=True)}" in shown


def test_a_mandatory_finding_stops_the_preview(stack: MakeStack, pack: Path) -> None:
    made = stack("import pulumi", policy_packs=(pack,), variables={"PROBE": "strict"})
    assert made.preview(check=False).returncode != 0
    assert made.up(check=False).returncode != 0
    assert made.resources() == [], "the gate is the preview: nothing was deployed"


def test_a_preview_does_not_touch_the_stack_file(stack: MakeStack) -> None:
    made = stack("import pulumi", config="inference:greeting: hello  # why")
    before = (made.project / "Pulumi.test.yaml").read_text()
    made.preview()
    made.up()
    assert (made.project / "Pulumi.test.yaml").read_text() == before, "the salt goes into the sandbox's copy"
