"""One door for all traffic: recognise the file, choose the service model for its mean request, build the demand."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from headrace.errors import refuse
from headrace.planner import requests, windows
from headrace.planner.ledger import ledger, public
from headrace.planner.prometheus import prometheus
from headrace.planner.service import ServiceModel
from headrace.planner.sources import Kind, Source, recognise
from headrace.planner.traffic import Traffic
from headrace.planner.workload import Workload, service_of

# A request of this size is assumed where the traffic tells none (demand, bills).
TYPICAL_TOKENS = (512.0, 256.0)


def ingest(
    traffic: str, workload: Workload, *, folder: Path, only: Mapping[str, str] | None = None
) -> tuple[Traffic, ServiceModel]:
    """Traffic of a file, the router's ledger or a Prometheus URL under a workload.

    `folder` is where the workload file lies; `only` keeps rows whose column (model, tenant, …) has a value.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="headrace-plan-") as scratch:
            return _ingest(_source(traffic, workload, only or {}, Path(scratch)), workload, folder, only or {})
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refuse(
            "TRAFFIC",
            public(traffic),
            f"can't be read to its end ({line})",
            next_step="look for a broken line or quote",
        ) from error


def _source(traffic: str, workload: Workload, only: Mapping[str, str], scratch: Path) -> Source:
    from_ledger = ledger(traffic, workload.name, only, scratch)
    if from_ledger is not None:
        return from_ledger
    return prometheus(traffic) if "://" in traffic else recognise(Path(traffic))


def _ingest(source: Source, workload: Workload, folder: Path, only: Mapping[str, str]) -> tuple[Traffic, ServiceModel]:
    source = _filtered(source, only)
    if source.kind is Kind.REQUESTS:
        shape = requests.shape_of(source)
        service = service_of(workload, tokens_in=shape.mean_in, tokens_out=shape.mean_out, folder=folder)
        return requests.traffic_of(source, shape, service, utilization=workload.target_utilization), service
    if source.kind is Kind.WINDOWS:
        tokens_in, tokens_out = windows.window_means(source)
        service = service_of(workload, tokens_in=tokens_in, tokens_out=tokens_out, folder=folder)
        return windows.windows_traffic(source, service, utilization=workload.target_utilization), service
    service = service_of(workload, tokens_in=TYPICAL_TOKENS[0], tokens_out=TYPICAL_TOKENS[1], folder=folder)
    read = {
        Kind.DEMAND: windows.demand_traffic,
        Kind.BILL: windows.bill_traffic,
        Kind.PROMETHEUS: windows.prometheus_traffic,
    }[source.kind]
    return read(source), service


def _filtered(source: Source, only: Mapping[str, str]) -> Source:
    frame = source.frame
    for name, value in only.items():
        if name not in source.columns:
            raise refuse(
                "--only",
                f"{name}={value}",
                f"the traffic has no column for {name}",
                reason=f"it has {', '.join(source.columns)}",
                next_step="filter by one of these",
            )
        frame = frame.filter(pl.col(source.columns[name]).cast(pl.String) == value)
    return replace(source, frame=frame)
