"""A CUDA version that some driver of a pool can't run.

**What.** Every driver that a pool's nodes may boot with runs the release's CUDA version; the oldest one decides.

**Why.** The container starts and fails at its first kernel, only on the nodes of one pool.

**Passes.** A driver at or above the minimum of the CUDA version, or a compatibility package on a data-centre GPU.

**Violates.** An older driver; a vendor CUDA bound below the release's version.

**Undecidable when** the node image's release isn't pinned or isn't in the catalogue, or the catalogue doesn't know
the CUDA version. An image that chooses its driver at first boot needs the instance type, which a pool always names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.rules import serverless_pools
from headrace.rules.facts import DedicatedPoolFacts
from headrace.rules.finding import Severity
from headrace.rules.graph import Resource, Unknown
from headrace.rules.rule import Broken, Rule, Said, Undecided, View, undecided


def check(view: View) -> Iterator[Said]:
    """Dedicated pools by their drivers, endpoints by the vendor's CUDA bounds."""
    for pool, facts in view.graph.records(DedicatedPoolFacts):
        yield from _pool(pool, facts)
    needed = _newest_cuda(view)
    for endpoint in view.graph.of(serverless_pools.ENDPOINT):
        yield from _bounds(endpoint, needed)


def _pool(pool: Resource, facts: DedicatedPoolFacts) -> Iterator[Said]:
    from headrace.catalog import drivers

    cuda = facts.release.cuda_version
    if not facts.drivers:
        yield Undecided(
            resource=pool.urn,
            what="which driver its nodes boot with",
            value="nodeReleaseVersion",
            remediation="pin nodeReleaseVersion to a release that headrace/catalog/data/drivers.yaml lists",
        )
        return
    if drivers.minimum_driver(cuda) is None:
        yield Undecided(
            resource=pool.urn,
            what=f"the minimum driver of CUDA {cuda}",
            value="cudaVersion",
            remediation="add the version to headrace/catalog/data/drivers.yaml with its source",
        )
        return
    lifted = facts.release.forward_compatibility_package and facts.gpu_class == "data-center"
    for driver in facts.drivers:
        if not drivers.runs(driver, cuda) and not lifted:
            yield Broken(
                resource=pool.urn,
                sentence=f"its nodes may boot with driver {driver}, CUDA {cuda} of {facts.release.name} needs "
                f"{drivers.minimum_driver(cuda)}",
            )


def _newest_cuda(view: View) -> tuple[int, ...] | None:
    from headrace.catalog.drivers import version_key

    versions = [facts.release.cuda_version for _, facts in view.graph.records(DedicatedPoolFacts)]
    return max((version_key(one) for one in versions), default=None)


def _bounds(endpoint: Resource, needed: tuple[int, ...] | None) -> Iterator[Said]:
    from headrace.catalog.drivers import version_key

    minimum, allowed = endpoint.at("gpu.minCudaVersion"), endpoint.at("gpu.allowedCudaVersions")
    if isinstance(minimum, Unknown) or isinstance(allowed, Unknown):
        value = minimum if isinstance(minimum, Unknown) else allowed
        yield undecided(endpoint.urn, value, "which CUDA its hosts have")
        return
    if minimum is None and not allowed:
        yield Broken(
            resource=endpoint.urn,
            sentence="it takes hosts of any CUDA version: gpu has neither minCudaVersion nor allowedCudaVersions",
            remediation="set gpu.minCudaVersion to the release's cudaVersion",
        )
        return
    lowest = min(version_key(str(one)) for one in (allowed or [minimum]))
    if needed is not None and lowest < needed:
        yield Broken(
            resource=endpoint.urn,
            sentence=f"it takes hosts from CUDA {'.'.join(map(str, lowest))} on, the release is built for "
            f"{'.'.join(map(str, needed))}",
            remediation="raise gpu.minCudaVersion to the release's cudaVersion",
        )


RULE: Final = Rule(
    id="driver-too-old",
    severity=Severity.HIGH,
    title="Driver too old for CUDA",
    description="Every driver that a pool may boot with runs its release's CUDA version.",
    remediation="raise nodeReleaseVersion, or use an image built for an older CUDA version",
    references=("NVIDIA CUDA compatibility guide", "SOC 2 A1.1"),
    reads=("dedicatedPool", serverless_pools.ENDPOINT),
    since="0.1.0",
    early=("headrace:index:DedicatedPool", serverless_pools.ENDPOINT),
    check=check,
)
