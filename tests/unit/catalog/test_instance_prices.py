"""Prices of whole GPU machines: by region where known, else the dearest, the user's own first, never made up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from headrace.catalog import load
from headrace.catalog.price import Tier, price_book
from headrace.catalog.schema import InstancePrice

DAY = date(2026, 11, 22)
# sold as capacity blocks only: neither source has an on-demand price
BLOCKS_ONLY = {"p5e.48xlarge"}


def usd(instance_type: str, region: str, day: date = DAY) -> Decimal | None:
    price = price_book().machine(instance_type, region, day)
    return price.usd_per_hour if price else None


def test_every_machine_has_a_price_and_none_is_of_an_unknown_machine_or_region() -> None:
    rows = load.instance_prices()
    assert {row.instance_type for row in rows} == set(load.instance_types()) - BLOCKS_ONLY
    assert {place for row in rows for place in row.usd} <= set(load.aws_regions())
    for name in set(load.instance_types()) - BLOCKS_ONLY:
        price = price_book().machine(name, "us-east-1", DAY)
        assert price is not None
        assert price.region == "us-east-1", f"{name}: every machine has its price in us-east-1"


def test_a_region_takes_the_same_premium_on_all_sizes_of_a_family() -> None:
    # AWS prices a family by one factor a region, so a price copied wrongly stands out. g4dn's are rounded to 0.001 USD.
    premiums = defaultdict(list)
    for name in set(load.instance_types()) - BLOCKS_ONLY:
        home = usd(name, "us-east-1")
        assert home is not None
        for region in load.aws_regions():
            price = price_book().machine(name, region, DAY)
            if price is not None and price.region == region:
                premiums[name.partition(".")[0], region].append(price.usd_per_hour / home)
    for (family, region), found in premiums.items():
        rounding = Decimal("0.002" if family == "g4dn" else "0.00001")
        assert max(found) - min(found) < rounding, f"{family} in {region}: {min(found)} to {max(found)}"


def test_the_price_of_one_gpu_is_that_of_the_machine_it_names() -> None:
    compared = 0
    for row in price_book().rows:
        if row.provider != "aws" or row.tier is not Tier.ON_DEMAND or row.region is None or not row.note:
            continue
        name = row.note.split()[0]
        if name in load.instance_types():
            machine = usd(name, row.region)
            assert machine == row.usd * load.instance_types()[name].gpu_count, f"{row.name} and {name} disagree"
            compared += 1
    assert compared >= 6, "the planner's prices of a GPU and the machines' are compared"


@pytest.mark.parametrize(
    ("name", "region", "expected"),
    [
        ("g6.12xlarge", "us-east-1", "4.6016"),
        ("g6.12xlarge", "eu-central-1", "5.75429"),
        ("g6.48xlarge", "eu-central-1", "16.69464"),
        ("p4de.24xlarge", "eu-central-1", "34.29122"),
        ("p5.48xlarge", "eu-north-1", "58.8928"),
        ("g5.xlarge", "eu-west-1", "1.123"),
        ("g4dn.xlarge", "eu-west-3", "0.615"),
    ],
)
def test_well_known_prices(name: str, region: str, expected: str) -> None:
    assert usd(name, region) == Decimal(expected)


def test_a_region_without_a_price_takes_the_dearest_and_says_which() -> None:
    price = price_book().machine("p4de.24xlarge", "eu-west-1", DAY)
    assert price is not None
    assert (price.region, price.usd_per_hour) == ("ap-northeast-1", Decimal("37.6223")), (
        "never that of a cheaper region"
    )


def test_an_unknown_machine_one_without_a_price_and_a_day_before_the_first_have_none() -> None:
    assert usd("x9.large", "us-east-1") is None
    assert usd("p5e.48xlarge", "us-east-1") is None
    assert usd("g6.xlarge", "us-east-1", date(2026, 7, 19)) is None, "nobody has looked at the price of that day"


def test_a_later_price_is_a_new_row_and_the_day_before_keeps_the_old_one() -> None:
    book = price_book()
    later = InstancePrice(
        name="g6.xlarge@2027-01-01",
        source="a test",
        checked=DAY,
        valid_from=date(2027, 1, 1),
        usd={"us-east-1": Decimal(9)},
    )
    both = replace(book, machines=(later, *book.machines))
    before, after = (both.machine("g6.xlarge", "us-east-1", later.valid_from - timedelta(days=n)) for n in (1, 0))
    assert before is not None
    assert after is not None
    assert (before.usd_per_hour, after.usd_per_hour) == (Decimal("0.8048"), Decimal(9))
    frankfurt = both.machine("g6.xlarge", "eu-central-1", later.valid_from)
    assert frankfurt is not None
    assert frankfurt.usd_per_hour == Decimal("1.0064"), "a new price of one region leaves the others alone"


def test_the_users_own_price_of_a_gpu_goes_before_the_catalogues_of_the_machine(tmp_path: Path) -> None:
    own = tmp_path / "prices.yaml"
    row = 'provider: aws, gpu: L4, tier: on-demand, per: hour, usd: "0.5", validFrom: 2026-11-01'
    row += ", source: ours, checked: 2026-11-01"
    own.write_text(f"rows:\n  contract: {{{row}}}\n")
    price = price_book(own).machine("g6.12xlarge", "eu-central-1", DAY)
    assert price is not None
    assert price.usd_per_hour == 4 * Decimal("0.5"), "four GPUs at 0.5"
    own.write_text(f"rows:\n  contract: {{{row}, region: us-east-1}}\n")
    elsewhere = price_book(own).machine("g6.12xlarge", "eu-central-1", DAY)
    assert elsewhere is not None
    assert elsewhere.usd_per_hour == Decimal("5.75429"), "a contract for another region"


@pytest.mark.parametrize(
    "change",
    [
        {"usd": {}},
        {"usd": {"us-east-1": Decimal(0)}},
        {"valid_until": date(2026, 1, 1)},
        {"region": "us-east-1"},
    ],
)
def test_a_row_that_says_nothing_or_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    good = {
        "name": "g6.xlarge",
        "source": "a test",
        "checked": DAY,
        "valid_from": DAY,
        "usd": {"us-east-1": Decimal(1)},
    }
    assert InstancePrice.model_validate(good).instance_type == "g6.xlarge"
    with pytest.raises(ValidationError):
        InstancePrice.model_validate({**good, **change})
