"""Which regions are read when: all after a cluster was made, otherwise one in turn, the busy ones always."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from headrace.catalog import load
from headrace_sandbox.kubernetes.nodes.cloud import Cloud


class CountedCloud(Cloud):
    """A cloud of empty regions that counts what is read."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.count = 0
        self.read: list[str] = []

    def _clusters_created(self) -> int:
        return self.count

    def _described(self, region: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        self.read.append(region)
        return iter(())


@pytest.fixture
def cloud() -> CountedCloud:
    made = CountedCloud()
    for _ in range(10):
        made.look()
    made.read.clear()
    return made


def test_every_region_has_its_turn(cloud: CountedCloud) -> None:
    for _ in load.aws_regions():
        cloud.look()
    assert sorted(cloud.read) == sorted(load.aws_regions())


def test_a_created_cluster_is_found_at_the_next_look_wherever_it_is(cloud: CountedCloud) -> None:
    cloud.count = 1
    assert cloud.look().regions == frozenset(load.aws_regions())
    cloud.look()
    cloud.look()
    assert len(cloud.look().regions) == 1, "and then it is quiet again"
    cloud.count = 0  # the stand-in was started anew
    assert cloud.look().regions == frozenset(load.aws_regions())


def test_a_region_with_nodes_is_read_at_every_look(cloud: CountedCloud) -> None:
    cloud.watch({"eu-central-1"})
    for _ in range(5):
        assert "eu-central-1" in cloud.look().regions


@pytest.mark.enable_socket  # the refused connection on loopback is the point
def test_without_an_answer_the_turns_go_on() -> None:
    cloud = Cloud("http://127.0.0.1:1")
    assert cloud._clusters_created() == -1, "nothing listens there, and that is no reason to fail"
