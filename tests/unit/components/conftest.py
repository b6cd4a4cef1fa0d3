"""Components without an engine. What several tests only look at is run once."""

from __future__ import annotations

from typing import cast

import pytest

from headrace_components import HybridPlatform, PrivateNetwork, PrivateNetworkArgs
from tests.unit.components.recording import PLACE, ZONES, Engine, record, stack_settings, whole_stack


@pytest.fixture(scope="session")
def default_network() -> Engine:
    """A network with every default."""
    args = {"place": PLACE, "cidr": "10.0.0.0/16", "zones": ZONES}
    return record(lambda: PrivateNetwork("net", cast("PrivateNetworkArgs", args)) and None)


@pytest.fixture(scope="session")
def sandbox_stack() -> Engine:
    """The whole platform of the stack `sandbox`."""
    return whole_stack("sandbox")


@pytest.fixture(scope="session")
def production_stack() -> Engine:
    """The whole platform of the stack `prod-us`: reserved capacity, EFA."""
    return whole_stack("prod-us")


@pytest.fixture(scope="session")
def changed_stack() -> Engine:
    """The whole platform of the stack `dev` with four settings changed, none of which touches another: Bottlerocket as
    the node image, a webhook for alerts, a second version of the data stores' credentials, a canary."""
    settings = stack_settings("dev")
    (overflow,) = settings["serverlessPools"].values()
    own = settings["releases"][settings["workloads"][overflow["workload"]]["release"]]
    settings["releases"] = {**settings["releases"], "next": {**own, "artifactDigest": f"sha256:{'a' * 64}"}}
    settings["router"] = {**settings["router"], "canaryPercent": {overflow["workload"]: {"next": 5}}}
    settings["serverlessPools"] = {
        **settings["serverlessPools"],
        "canary": {**overflow, "release": "next"},
    }
    for name, pool in settings["dedicatedPools"].items():
        bottlerocket = {"nodeImage": "bottlerocket-nvidia", "nodeReleaseVersion": "1.68.0-9d0a9bd2"}
        settings["dedicatedPools"][name] = {**pool, **bottlerocket}
    settings["budgets"] = {**settings["budgets"], "alertWebhookUrl": "https://hooks.example.com/T0K3N"}
    settings["dataStores"] = {**settings["dataStores"], "credentialsVersion": 2}
    return record(lambda: HybridPlatform("platform", {"settings": settings}) and None)
