"""What a stack takes for granted in its account."""

from __future__ import annotations

from pathlib import Path

from headrace_sandbox import prerequisites, stack_config
from headrace_sandbox.prerequisites import Prerequisites

ROOT = Path(__file__).resolve().parents[3]
ROLE = "arn:aws:iam::123456789012:role/{}"


def test_roles_and_secrets_are_found_wherever_the_settings_name_them() -> None:
    needed = prerequisites.needed(
        {
            "aws:profile": ROLE.format("not-ours"),
            "inference:cluster": {"adminPrincipalArns": [ROLE.format("ops/platform"), ROLE.format("second")]},
            "inference:tenants": {"a": {"access": {"viewerPrincipalArns": [ROLE.format("viewer")]}}},
            "inference:modelStore": {
                "upstreamCredentialArns": {
                    "hub": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ecr-pullthroughcache/docker-hub-Qm4xTz"
                }
            },
        }
    )
    assert needed == Prerequisites(
        roles=(ROLE.format("ops/platform"), ROLE.format("second"), ROLE.format("viewer")),
        secrets=(("eu-west-1", "ecr-pullthroughcache/docker-hub"),),
        operator=ROLE.format("ops/platform"),
    )


def test_a_stack_that_names_nothing_needs_nothing() -> None:
    assert prerequisites.needed({"inference:region": "eu-west-1"}) == Prerequisites(roles=(), secrets=(), operator="")


def test_every_committed_stack_names_its_operator() -> None:
    for file in sorted((ROOT / "stacks").glob("Pulumi.*.yaml")):
        needed = prerequisites.needed(stack_config.settings(ROOT, file.name.split(".")[1]))
        assert needed.operator in needed.roles, f"{file.name}: someone has to administer the cluster"
