"""Serves the policy pack to the Pulumi engine. Importing it does nothing: `PolicyPack` never returns."""

from __future__ import annotations

if __name__ == "__main__":
    import gc

    from pulumi_policy import EnforcementLevel, PolicyPack

    from headrace_policies.pack import POLICIES
    from headrace_policies.speed import read_properties_once

    read_properties_once()
    # What is read stays until the process ends, after one run. Walking all of it for cycles every 700 new objects made
    # a resource of a stack of 5,000 half again as dear as one of 1,000.
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    PolicyPack(name="headrace", enforcement_level=EnforcementLevel.MANDATORY, policies=POLICIES)
