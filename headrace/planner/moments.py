"""Columns of time: which unit numbers are in, how text is written, and both as seconds since the epoch.

Text is read as ISO 8601 and the ways around it: with T or a blank, with a fraction or without, date or minutes only,
`2026/11/04`, `04.11.2026`, AM and PM, Z, UTC or an offset, which may differ from row to row. A time without an offset
is taken for UTC. `04/11/2026` may be April or November: the file decides, by a day after the twelfth in either place,
or is refused.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from headrace.errors import refuse
from headrace.planner.traffic import TEXT

DAY_FIRST: Final = "text, day/month/year"
MONTH_FIRST: Final = "text, month/day/year"
MONTHS: Final = 12
_DIVISORS: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_SLASHED: Final = r"^\s*(\d{1,2})[/-](\d{1,2})[/-]\d{4}\b"
_OFFSET: Final = r":\d\d(?:[.,]\d+)?\s*([+-]\d\d(?::?\d\d)?)$"
_USUAL: Final = (
    *("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M:%S%.f"),
    "%Y-%m-%d %H:%M:%S%.f%z",
)
_CLOCKS: Final = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %I:%M:%S%.f %p", "%Y-%m-%d %I:%M %p")


def time_unit(frame: pl.LazyFrame, column: str, *, option: str = "TRAFFIC") -> str:
    """How a column of time is to be read: s, ms, us or ns by size (a date of this century tells them apart), or text.

    One of the keys of `_DIVISORS`, TEXT, DAY_FIRST or MONTH_FIRST.
    """
    dtype = frame.collect_schema()[column]
    if isinstance(dtype, pl.Datetime | pl.Date):
        return "s"
    numbers = frame.select(pl.col(column).cast(pl.Float64, strict=False).drop_nulls()).head(1000).collect()[column]
    if len(numbers) == 0:
        return _order_of_dates(frame, column, option) if dtype == pl.String else TEXT
    middle = numbers.median()
    size = abs(float(middle)) if isinstance(middle, int | float) else 0.0
    for unit, least in (("ns", 1e17), ("us", 1e14), ("ms", 1e11)):
        if size >= least:
            return unit
    return "s"


def _order_of_dates(frame: pl.LazyFrame, column: str, option: str) -> str:
    """TEXT, or the order in dates like 04/11/2026; refused where no row tells it."""
    parts = pl.col(column).str.extract_groups(_SLASHED)
    found = (
        frame.select(*(parts.struct.field(str(at)).cast(pl.Int64).max().alias(str(at)) for at in (1, 2)))
        .collect(engine="streaming")
        .row(0)
    )
    first, second = (int(value or 0) for value in found)
    if not first:
        return TEXT
    if (first > MONTHS) != (second > MONTHS):
        return DAY_FIRST if first > MONTHS else MONTH_FIRST
    raise refuse(
        option,
        column,
        "has dates that may be day/month or month/day",
        reason="no row has a day after the twelfth" if first <= MONTHS else "rows of both orders are mixed",
        next_step="write dates as 2026-11-04",
    )


def seconds(column: str, dtype: pl.DataType, unit: str) -> pl.Expr:
    """A column of time as seconds since the epoch, null where it can't be read; `unit` is `time_unit`'s answer."""
    value = pl.col(column)
    if isinstance(dtype, pl.Datetime | pl.Date):
        return value.cast(pl.Datetime("us")).dt.timestamp("us").cast(pl.Float64) / 1e6
    if unit in _DIVISORS:
        return value.cast(pl.Float64, strict=False) / _DIVISORS[unit]
    return value.map_batches(lambda texts: _read(texts, unit), return_dtype=pl.Float64, is_elementwise=True)


def start_seconds(frame: pl.LazyFrame, column: str, option: str) -> pl.Expr:
    """The start of a step or window in seconds: a number is seconds whatever its size, text may be a date."""
    dtype = frame.collect_schema()[column]
    if isinstance(dtype, pl.Datetime | pl.Date):
        return seconds(column, dtype, "s")
    unit = time_unit(frame, column, option=option) if dtype == pl.String else "s"
    return seconds(column, dtype, unit if unit.startswith(TEXT) else "s")


def _read(texts: pl.Series, unit: str) -> pl.Series:
    """Seconds of each text: most files are written in one way, so rarer ways are tried on what is left only."""
    found = pl.Series(texts.name, [None], dtype=pl.Float64).new_from_index(0, len(texts))
    for form in _USUAL:
        left = (found.is_null() & texts.is_not_null()).arg_true()
        if not len(left):
            return found
        clock = texts.gather(left).str.to_datetime(form, strict=False, time_unit="us")
        found = found.scatter(left, clock.dt.timestamp("us").cast(pl.Float64) / 1e6)
    left = (found.is_null() & texts.is_not_null()).arg_true()
    rare = texts.gather(left).to_frame().select(_rare(pl.col(texts.name), unit)).to_series()
    return found.scatter(left, rare)


def _rare(value: pl.Expr, unit: str) -> pl.Expr:
    """Seconds of any text that can be read."""
    offset = value.str.strip_chars().str.extract(_OFFSET)
    minutes = pl.when(offset.str.len_chars() > len("+02")).then(offset.str.slice(-2).cast(pl.Float64)).otherwise(0.0)
    shift = offset.str.slice(1, 2).cast(pl.Float64) * 3600 + minutes * 60
    clock = pl.coalesce(_tidy(value, unit).str.to_datetime(form, strict=False, time_unit="us") for form in _CLOCKS)
    ahead = pl.when(offset.str.starts_with("-")).then(-shift).otherwise(shift)
    return clock.dt.timestamp("us").cast(pl.Float64) / 1e6 - ahead.fill_null(0.0)


def _tidy(value: pl.Expr, unit: str) -> pl.Expr:
    """Text as `YYYY-MM-DD HH:MM:SS`, with a fraction or AM and PM as they were; zone marks dropped."""
    text = value.str.strip_chars().str.replace(r"\s*(?:[zZ]|UTC|GMT)$", "")
    text = text.str.replace(r"(:\d\d(?:[.,]\d+)?)\s*[+-]\d\d(?::?\d\d)?$", "$1")
    text = text.str.replace(r"^(\d{4})/(\d{1,2})/(\d{1,2})", "$1-$2-$3")
    text = text.str.replace(r"^(\d{1,2})\.(\d{1,2})\.(\d{4})", "$3-$2-$1")
    if unit in (DAY_FIRST, MONTH_FIRST):
        order = "$3-$2-$1" if unit == DAY_FIRST else "$3-$1-$2"
        text = text.str.replace(r"^(\d{1,2})[/-](\d{1,2})[/-](\d{4})", order)
    text = text.str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})[Tt]\s*", "$1 ").str.replace(r",(\d+)$", ".$1")
    text = text.str.replace(r"^(\d{4}-\d{1,2}-\d{1,2})$", "$1 00:00")
    return text.str.replace(r"^(\S+ \d{1,2}:\d\d)$", "$1:00")
