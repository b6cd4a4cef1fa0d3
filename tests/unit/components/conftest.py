"""Components without an engine. What several tests only look at is run once."""

from __future__ import annotations

from typing import cast

import pytest

from headrace_components import HybridPlatform, PrivateNetwork, PrivateNetworkArgs
from tests.unit.components.recording import PLACE, ZONES, Engine, record, stack_settings


@pytest.fixture(scope="session")
def default_network() -> Engine:
    """A network with every default."""
    args = {"place": PLACE, "cidr": "10.0.0.0/16", "zones": ZONES}
    return record(lambda: PrivateNetwork("net", cast("PrivateNetworkArgs", args)) and None)


@pytest.fixture(scope="session")
def sandbox_stack() -> Engine:
    """The whole platform of the stack `sandbox`."""
    return record(lambda: HybridPlatform("platform", {"settings": stack_settings("sandbox")}) and None)


@pytest.fixture(scope="session")
def production_stack() -> Engine:
    """The whole platform of the stack `prod-us`: reserved capacity, EFA."""
    return record(lambda: HybridPlatform("platform", {"settings": stack_settings("prod-us")}) and None)
