"""Checks over a whole tree: what no single field can know. Each is a pure function that yields all it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Final

from headrace.errors import Problem
from headrace.settings.checks import canaries, compute, hourly, money, names, offers, places, traffic
from headrace.settings.tree import Settings

Check = Callable[[Settings], Iterator[Problem]]

CHECKS: Final[tuple[Check, ...]] = (
    places.region_is_known,
    places.zones_lie_in_the_region,
    places.network_ranges_do_not_overlap,
    places.adopted_network_covers_the_zones,
    places.residency_allows_the_region,
    places.serverless_regions_are_known,
    compute.releases_lie_in_the_model_store,
    compute.images_are_not_compromised,
    compute.pools_name_what_exists,
    compute.capacity_has_its_single_zone,
    compute.bounds_are_in_order,
    compute.schedules_hold,
    compute.model_servers_follow_or_are_fixed,
    hourly.hourly_floors_can_follow,
    compute.models_fit_their_gpus,
    compute.workloads_name_their_release,
    traffic.router_names_what_exists,
    canaries.pools_run_what_conversations_get,
    traffic.spill_thresholds_are_in_order,
    traffic.traces_have_a_way,
    traffic.api_keys_name_what_exists,
    money.quotas_fit_the_pools,
    money.budgets_add_up,
    money.commitments_hold,
    names.names_do_not_meet,
    names.resources_have_names_of_their_own,
    offers.logs_are_kept_for_a_time_that_exists,
    offers.the_cluster_can_be_made,
    offers.machines_run_the_node_image,
    offers.reserved_capacity_has_its_id,
    offers.replicas_fit_the_ceiling,
    offers.serverless_can_be_reached,
    offers.vendors_sell_what_pools_ask_for,
    offers.prices_are_known,
    offers.alerts_fit_a_budget,
    offers.storage_can_grow,
)


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with a tree whose fields are valid each by itself."""
    return [problem for check in CHECKS for problem in check(settings)]


def warnings(settings: Settings, today: date) -> list[Problem]:
    """What deploys but deserves a look."""
    return [
        *places.version_warnings(settings, today),
        *places.offering_warnings(settings),
        *compute.slot_warnings(settings),
    ]
