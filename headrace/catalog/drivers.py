"""Questions on drivers: which one a node runs, and whether it can run an image's CUDA version."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.catalog import load
from headrace.catalog.schema import NodeImageRelease


def version_key(version: str) -> tuple[int, ...]:
    """Sort key of a dotted version; what is not a number counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


@dataclass(frozen=True, kw_only=True)
class NodeDriver:
    """The driver of a node and the catalogue row that says so."""

    version: str
    row: NodeImageRelease


def image_release(release_version: str, image: str) -> str:
    """The part of an EKS release version that orders image releases: `1.36.0-20260917` -> `20260917` for AL2023,
    `1.62.0-9d0a9bd2` -> `1.62.0` for Bottlerocket."""
    first, _, last = release_version.removeprefix("v").partition("-")
    return first if image.startswith("bottlerocket") else (last or first)


def node_driver(image: str, release_version: str, instance_type: str) -> NodeDriver | None:
    """Driver on a node of `image` at `release_version`; None where the catalogue has no release that old."""
    wanted = version_key(image_release(release_version, image))
    rows = [
        row for row in load.node_images().values() if row.image == image and version_key(row.from_release) <= wanted
    ]
    if not rows:
        return None
    row = max(rows, key=lambda candidate: version_key(candidate.from_release))
    family = instance_type.split(".", 1)[0]
    newest = row.chosen_at_boot and family in row.newest_branch_only_for
    return NodeDriver(version=row.drivers[-1] if newest else row.drivers[0], row=row)


def minimum_driver(cuda_version: str) -> str | None:
    """Oldest driver branch for a CUDA version, by its exact row else by its major version; None where unknown."""
    table = load.cuda_requirements()
    row = table.get(cuda_version) or table.get(cuda_version.split(".", 1)[0])
    return row.minimum_driver if row else None


def runs(driver: str, cuda_version: str) -> bool | None:
    """Whether `driver` runs an image built for `cuda_version` without a compatibility package; None where unknown."""
    needed = minimum_driver(cuda_version)
    return None if needed is None else version_key(driver) >= version_key(needed)
