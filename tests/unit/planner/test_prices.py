"""The price catalogue: every row sourced and dated, nothing missing taken for zero, the user's own file first."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from headrace.catalog.load import gpus
from headrace.catalog.price import PriceUnit, price_book
from headrace.errors import Refused
from headrace.planner.service import Model, performance, roofline, working_batch

DAY = date(2026, 11, 21)


def test_every_row_has_source_date_and_a_provider_with_billing_rules() -> None:
    book = price_book()
    assert len(book.rows) > 80
    for row in book.rows:
        assert row.source, row.name
        assert row.checked >= row.valid_from or not row.verified, f"{row.name} was checked before it was valid"
        assert book.rules(row.provider).source


def test_prices_are_exact_decimals() -> None:
    assert price_book().find("runpod", "H100", "flex", DAY).usd_per_hour == Decimal("4.17600")


def test_a_changed_price_is_a_new_row_and_last_month_keeps_its_own() -> None:
    book = price_book()
    assert book.find("runpod", "H100", "secure", date(2026, 10, 1)).usd == Decimal("3.49")
    assert book.find("runpod", "H100", "secure", DAY).usd == Decimal("3.99")


def test_no_two_rows_of_the_same_thing_hold_on_the_same_day() -> None:
    book = price_book()
    for row in book.rows:
        twins = [
            other.name
            for other in book.rows
            if other is not row
            and (other.provider, other.gpu, other.tier, other.region) == (row.provider, row.gpu, row.tier, row.region)
            and other.in_force(row.valid_from)
        ]
        assert not twins, f"{row.name} overlaps {twins}"


@pytest.mark.parametrize(("gpu", "share"), [("T4", 0.677), ("A100-80GB", 0.580), ("H100", 0.870)])
def test_the_essays_break_even_column_reproduces(gpu: str, share: float) -> None:
    rows = {row.per: row for row in price_book().in_force(date(2026, 1, 31), gpu=gpu) if row.provider == "essay-b"}
    ratio = rows[PriceUnit.HOUR].usd_per_hour / rows[PriceUnit.SECOND].usd_per_hour
    assert float(ratio) == pytest.approx(share, abs=0.001)


def test_a_missing_price_is_refused_with_what_there_is() -> None:
    with pytest.raises(Refused, match=r"runpod/T4/flex: no price is in force on 2026-11-21, because the catalogue has"):
        price_book().find("runpod", "T4", "flex", DAY)


def test_old_rows_warn_and_marketplaces_sooner() -> None:
    stale = price_book().stale(DAY)
    assert any("vast H100 flex was checked 33 days ago (limit 7)" in line for line in stale)
    assert not any("runpod H100 flex" in line for line in stale)


def test_the_users_own_file_goes_before_the_catalogue(tmp_path: Path) -> None:
    own = tmp_path / "prices.yaml"
    own.write_text(
        "rows:\n  contract: {provider: runpod, gpu: H100, tier: secure, per: hour, usd: '2.10', validFrom: 2026-11-01,"
        " source: our contract, checked: 2026-11-01}\n",
        encoding="utf-8",
    )
    assert price_book(own).find("runpod", "H100", "secure", DAY).usd == Decimal("2.10")
    assert price_book().find("runpod", "H100", "secure", DAY).usd == Decimal("3.99")


ROW = "rows:\n  x: {{provider: a, gpu: {}, tier: {}, per: hour, usd: '{}', {}}}\n"
DATED = "validFrom: 2026-11-01, source: s, checked: 2026-11-01"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ROW.format("H100", "secure", "0", DATED), "greater than 0"),
        (ROW.format("H999", "secure", "1", DATED), "the GPU 'H999' is not in the table of GPUs"),
        (ROW.format("H100", "flex", "1", DATED), "serverless prices are per second"),
        (ROW.format("H100", "secure", "1", "source: s, checked: 2026-11-01"), "Field required"),
        ("rows: []\n", "a price file is a mapping with `rows`"),
    ],
)
def test_a_price_file_that_makes_no_sense_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    own = tmp_path / "prices.yaml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match=reason):
        price_book(own)


MODEL = Model(name="llama-70b", weights_gib=131, kv_cache_kib_per_token=320, max_context_tokens=8192)


def test_a_model_that_does_not_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(Refused, match=r"1 x 80 GiB x 0\.9 = 72\.0 GiB hold 131 GiB of weights and 2\.5 GiB of KV"):
        roofline(MODEL, "A100-80GB", tokens_in=500, tokens_out=200)
    with pytest.raises(Refused, match="is not in the catalogue of GPUs"):
        working_batch(MODEL, "B9000", context_tokens=500)


def test_tensor_parallelism_makes_it_fit_and_a_faster_gpu_is_faster() -> None:
    split = Model(
        name="llama-70b", weights_gib=131, kv_cache_kib_per_token=320, max_context_tokens=8192, tensor_parallel=4
    )
    slow = roofline(split, "A100-80GB", tokens_in=500, tokens_out=200)
    fast = roofline(split, "H100", tokens_in=500, tokens_out=200)
    assert slow.gpus_per_replica == 4
    assert fast.prefill_tokens_s > 2 * slow.prefill_tokens_s
    assert fast.decode_tokens_s > slow.decode_tokens_s


def test_performance_is_known_for_gpus_of_the_catalogue_only() -> None:
    assert set(performance()) <= set(gpus())
