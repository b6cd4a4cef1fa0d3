"""Serves the policy pack to the Pulumi engine. Importing it does nothing: `PolicyPack` never returns."""

from __future__ import annotations

if __name__ == "__main__":
    from pulumi_policy import EnforcementLevel, PolicyPack

    from headrace_policies.pack import POLICIES
    from headrace_policies.speed import read_properties_once

    read_properties_once()
    PolicyPack(name="headrace", enforcement_level=EnforcementLevel.MANDATORY, policies=POLICIES)
