"""The catalogue: every table loads, refers only to what exists, and says where its numbers come from."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from headrace.catalog import drivers, load
from headrace.catalog.base import CatalogError
from headrace.catalog.schema import Gpu

DATA = Path(load.__file__).parent / "data"
TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(("file", "section"), load.TABLES)
def test_every_row_says_where_it_comes_from_and_when(file: str, section: str) -> None:
    table = load._table(file, section)
    assert table, "an empty table answers nothing"
    for name, row in table.items():
        assert row.name == name
        assert len(row.source) > 3
        assert date(2026, 1, 1) <= row.checked, "a row is checked against its source before it is written"
        if not row.verified:
            defaults = load._document(file)
            note = row.note or (defaults[section] if section else defaults)["defaults"].get("note")
            assert note, f"{file}.{name}: an unverified row says what is missing"


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        load.gpus()["L4"] = load.gpus()["T4"]  # type: ignore[index] # that it is refused is the point
    with pytest.raises(ValueError, match="frozen"):
        load.gpus()["L4"].memory_gib = 1


def test_a_table_is_read_once() -> None:
    assert load.gpus() is load.gpus()


def test_ages_grow_with_the_day() -> None:
    then, later = load.ages(TODAY), load.ages(date(2026, 12, 21))
    assert set(then) == set(later)
    assert all(later[table] - then[table] == 30 for table in then)


def test_instance_types_have_known_gpus_and_enough_interfaces() -> None:
    for name, row in load.instance_types().items():
        assert row.gpu in load.gpus(), name
        assert row.family in load.offerings(), f"{name}: where the family is sold is known"
        assert re.fullmatch(r"[a-z0-9-]+\.[a-z0-9]+", name)


@pytest.mark.parametrize(
    ("name", "gpu", "count", "efa", "blocks"),
    [
        ("g6.12xlarge", "L4", 4, 1, False),
        ("g5.xlarge", "A10G", 1, 0, False),
        ("p4de.24xlarge", "A100-80GB", 8, 4, True),
        ("p4d.24xlarge", "A100-40GB", 8, 4, True),
        ("p5.48xlarge", "H100", 8, 32, True),
    ],
)
def test_well_known_machines(name: str, gpu: str, count: int, efa: int, blocks: bool) -> None:
    row = load.instance_types()[name]
    assert (row.gpu, row.gpu_count, row.efa_interfaces, row.capacity_blocks) == (gpu, count, efa, blocks)


def test_places_lie_in_known_jurisdictions() -> None:
    places = [load.aws_regions(), load.runpod_data_centers(), load.modal_regions(), load.modal_routing_regions()]
    for table in places:
        for name, place in table.items():
            assert place.jurisdiction in load.jurisdictions(), name
    for row in load.offerings().values():
        assert row.regions <= set(load.aws_regions())
    for jurisdiction in load.jurisdictions().values():
        assert jurisdiction.name in jurisdiction.includes
        assert jurisdiction.includes <= set(load.jurisdictions())


def test_a_residency_never_falls_open() -> None:
    assert load.allowed_jurisdictions(["EU"]) == {"EU"}
    assert load.allowed_jurisdictions(["EEA"]) == {"EU", "EEA"}
    assert load.allowed_jurisdictions(["nowhere"]) == frozenset()
    assert load.allowed_jurisdictions([]) == frozenset()
    assert load.aws_regions()["eu-west-2"].jurisdiction == "UK", "London is not in the Union"
    assert load.aws_regions()["eu-central-2"].jurisdiction == "CH", "Zurich is not in the Union"


def test_zones_carry_the_regions_name() -> None:
    assert load.aws_regions()["eu-central-1"].zones == ("eu-central-1a", "eu-central-1b", "eu-central-1c")


def test_serverless_names_lead_to_known_gpus() -> None:
    for table in (load.runpod_pools(), load.modal_gpus()):
        for name, row in table.items():
            assert set(row.gpus) <= set(load.gpus()), name
    for row in load.runpod_pools().values():
        assert set(row.gpu_type_ids) == set(row.gpus), f"{row.name}: each GPU of a pool has the vendor's id"


def test_exactly_one_kubernetes_version_is_the_default_and_it_is_supported() -> None:
    default = load.default_eks_version()
    assert default.end_of_standard_support > TODAY
    for row in load.eks_versions().values():
        assert row.end_of_extended_support > row.end_of_standard_support
    assert {addon.kubernetes for addon in load.eks_addons().values()} == {default.name}


def test_exactly_one_endpoint_is_a_gateway_and_the_required_ones_are_there() -> None:
    endpoints = load.vpc_endpoints()
    assert [name for name, row in endpoints.items() if row.type == "Gateway"] == ["s3"]
    services = {row.service for row in endpoints.values()}
    # EKS user guide, private clusters: what a cluster without internet must reach
    assert services >= {"ec2", "ecr.api", "ecr.dkr", "s3", "elasticloadbalancing", "logs", "sts", "eks", "eks-auth"}


@pytest.mark.parametrize(
    ("image", "release", "instance", "driver"),
    [
        ("al2023-nvidia", "1.36.0-20260714", "g6.xlarge", "580.159.03"),
        ("al2023-nvidia", "1.36.0-20261101", "g6.xlarge", "580.159.03"),
        ("al2023-nvidia", "1.36.0-20260917", "g7.2xlarge", "595"),
        ("bottlerocket-nvidia", "1.62.0-9d0a9bd2", "p5.48xlarge", "580.159.03"),
        ("bottlerocket-nvidia", "v1.48.0", "p5.48xlarge", "570.172"),
    ],
)
def test_a_nodes_driver_follows_its_image_and_type(image: str, release: str, instance: str, driver: str) -> None:
    found = drivers.node_driver(image, release, instance)
    assert found is not None
    assert found.version == driver


def test_an_image_older_than_the_table_is_unknown() -> None:
    assert drivers.node_driver("al2023-nvidia", "1.30.0-20240101", "g6.xlarge") is None


@pytest.mark.parametrize(
    ("driver", "cuda", "answer"),
    [
        ("580.159.03", "13.0", True),
        ("570.172", "13.0", False),
        ("570.172", "12.8", True),
        ("524.1", "12.4", False),
        ("595", "13.1", True),
        ("595", "14.0", None),
    ],
)
def test_a_driver_runs_a_cuda_version_or_not_or_nobody_knows(driver: str, cuda: str, answer: bool | None) -> None:
    assert drivers.runs(driver, cuda) is answer


def test_only_data_centre_gpus_take_compatibility_packages() -> None:
    assert load.gpus()["L4"].forward_compatible
    assert not load.gpus()["RTX-4090"].forward_compatible
    assert not load.gpus()["RTX-A6000"].forward_compatible, "workstation cards count only where the vendor says so"


def test_a_wrong_table_names_file_and_row() -> None:
    row = {"memoryGib": 1, "computeCapability": "8.9", "architecture": "ada", "gpuClass": "x", "fp8": 1, "bf16": 1}
    with pytest.raises(CatalogError, match=r"gpus.yaml, row L4\.source: Field required"):
        load.read_table("gpus.yaml", {"rows": {"L4": row}}, Gpu)
    with pytest.raises(CatalogError, match="a table has `defaults` and `rows`"):
        load.read_table("gpus.yaml", {"rowz": {}}, Gpu)
