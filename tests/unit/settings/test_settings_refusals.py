# ruff: noqa: E501 - sentences are quoted whole
"""Bad settings get one sentence each: path, value, rule, reason, next step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from headrace.errors import Refused
from headrace.settings import load, validate

Tree = dict[str, Any]
TODAY = date(2026, 11, 21)


def put(path: str, value: Any) -> Callable[[Tree], None]:
    """A change of one setting; the last part of the path is created."""

    def change(tree: Tree) -> None:
        *parents, last = path.split(".")
        node: Any = tree
        for part in parents:
            node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
        if last.isdigit():
            node[int(last)] = value
        else:
            node[last] = value

    return change


def drop(path: str) -> Callable[[Tree], None]:
    """Take one setting away."""

    def change(tree: Tree) -> None:
        *parents, last = path.split(".")
        node: Any = tree
        for part in parents:
            node = node[part]
        del node[last]

    return change


POOL = "dedicatedPools.chat-floor"
PROJECT = {"quota": {"gpus": 0, "cpuCores": 1, "memoryGib": 1}, "budgetUsdPerMonth": 1}
RELEASE = {
    "artifactUri": "s3://acme-sandbox-models/next/1",
    "artifactDigest": f"sha256:{'a' * 64}",
    "image": f"docker.io/vllm/vllm-openai@sha256:{'b' * 64}",
    "cudaVersion": "12.8",
    "weightsGib": 8.5,
    "kvCacheKibPerToken": 64,
    "maxContextTokens": 16384,
}
CASES: list[tuple[str, list[Callable[[Tree], None]], str]] = [
    (
        "unknown instance type",
        [put(f"{POOL}.instanceType", "g6.12xlrage")],
        (
            "dedicatedPools.chat-floor.instanceType is 'g6.12xlrage': it must be an AWS instance type with GPUs from the "
            "catalogue, because GPU, memory and network interfaces of others are not known; did you mean 'g6.12xlarge'? "
            "Otherwise choose one of: g4dn.12xlarge, g4dn.16xlarge, g4dn.2xlarge, g4dn.4xlarge, g4dn.8xlarge, g4dn.metal, "
            "g4dn.xlarge, g5.12xlarge and 46 more."
        ),
    ),
    (
        "GPU too small for the model",
        [put("releases.llama-3-1-8b-fp8.weightsGib", 19.9)],
        (
            "dedicatedPools.chat-floor.instanceType is 'g6.12xlarge': release 'llama-3-1-8b-fp8' does not fit: weights "
            "19.9 GiB + KV cache 0.5 GiB (one request of 8192 tokens x 64 KiB) = 20.4 GiB, but 1 x L4 give 20.1 GiB (90% "
            "of 1 x 22.35), because the model server would fail at start; choose a GPU with more memory, a larger "
            "tensorParallel, a quantized release, or a shorter contextTokens."
        ),
    ),
    (
        "GPU too old for the kernels",
        [put(f"{POOL}.instanceType", "g5.12xlarge")],
        (
            "dedicatedPools.chat-floor.instanceType is 'g5.12xlarge': its GPU A10G must have compute capability 8.9 or "
            "newer and has 8.6, because the kernels of release 'llama-3-1-8b-fp8' don't run on older ones; choose a newer "
            "GPU, or a release built for this one."
        ),
    ),
    (
        "too few GPUs for the release",
        [put("releases.llama-3-1-8b-fp8.tensorParallel", 8)],
        (
            "dedicatedPools.chat-floor.instanceType is 'g6.12xlarge': it must have at least 8 GPUs and has 4, because "
            "release 'llama-3-1-8b-fp8' spans 8 GPUs of one machine; choose a larger machine, or a release with a smaller "
            "tensorParallel."
        ),
    ),
    (
        "zone outside the region",
        [put("network.zones", ["eu-central-1a", "eu-west-1b"])],
        (
            "network.zones[1] is 'eu-west-1b': it must be a zone of the region eu-central-1, because a subnet can't lie "
            "in another region than its VPC; choose among eu-central-1a, eu-central-1b, eu-central-1c."
        ),
    ),
    (
        "zone that the region doesn't have",
        [put("network.zones", ["eu-central-1a", "eu-central-1d"])],
        (
            "network.zones[1] is 'eu-central-1d': it must be a zone of the region eu-central-1, because a subnet can't "
            "lie in another region than its VPC; choose among eu-central-1a, eu-central-1b, eu-central-1c."
        ),
    ),
    (
        "unknown region",
        [put("region", "eu-centrall-1"), put("network.zones", ["eu-centrall-1a", "eu-centrall-1b"])],
        (
            "region is 'eu-centrall-1': it must be an AWS region of the catalogue, because zones and jurisdiction of "
            "others are not known; did you mean 'eu-central-1'? Otherwise choose one of: af-south-1, ap-northeast-1, "
            "ap-northeast-2, ap-northeast-3, ap-south-1, ap-south-2, ap-southeast-1, ap-southeast-2 and 19 more."
        ),
    ),
    (
        "overlapping ranges",
        [put("network.peeredCidrs", ["10.0.0.0/8"])],
        (
            "network.peeredCidrs[0] is '10.0.0.0/8': it must not overlap with network.cidr (10.10.0.0/16), because an "
            "address in both has two routes; give this environment another range."
        ),
    ),
    (
        "range of Kubernetes services",
        [put("network.cidr", "10.100.0.0/16")],
        (
            "network.cidr is '10.100.0.0/16': it must not overlap with 10.100.0.0/16, because EKS gives that range to "
            "Kubernetes services; choose another range, for instance 10.20.0.0/16."
        ),
    ),
    (
        "bits behind the prefix",
        [put("network.cidr", "10.10.3.0/16")],
        (
            "network.cidr is '10.10.3.0/16': the address has bits set behind its prefix, because AWS refuses such a "
            "range; write 10.10.0.0/16."
        ),
    ),
    (
        "range too small",
        [put("network.cidr", "10.10.0.0/22")],
        (
            "network.cidr is '10.10.0.0/22': it must be between /16 and /20, because AWS takes no larger VPC, and a "
            "smaller one runs out of pod addresses; write 10.10.0.0/16 or a range in between."
        ),
    ),
    (
        "public range",
        [put("network.cidr", "52.10.0.0/16")],
        (
            "network.cidr is '52.10.0.0/16': it must be a private range (RFC 1918 or RFC 6598), because public addresses "
            "inside would be cut off from their owners; choose one under 10.0.0.0/8."
        ),
    ),
    (
        "capacity block without its zone",
        [
            put(f"{POOL}.capacity", {"type": "capacity-block", "reservationId": "cr-0123456789abcdef0"}),
            put(f"{POOL}.instanceType", "p5.48xlarge"),
        ],
        (
            "dedicatedPools.chat-floor.capacity.zone: a capacity block needs its single zone, because reserved machines "
            "exist in one zone and a node group elsewhere never gets them; add the zone that the purchase names."
        ),
    ),
    (
        "capacity block over two zones",
        [
            put(
                f"{POOL}.capacity",
                {"type": "capacity-block", "reservationId": "cr-0123456789abcdef0", "zone": "eu-central-1a"},
            ),
            put(f"{POOL}.instanceType", "p5.48xlarge"),
            put(f"{POOL}.zones", ["eu-central-1a", "eu-central-1b"]),
        ],
        (
            "dedicatedPools.chat-floor.zones is 'eu-central-1a, eu-central-1b': with a capacity block it must be "
            "[eu-central-1a] or unset, because reserved machines exist in one zone; remove zones."
        ),
    ),
    (
        "capacity block of a type that has none",
        [
            put(
                f"{POOL}.capacity",
                {"type": "capacity-block", "reservationId": "cr-0123456789abcdef0", "zone": "eu-central-1a"},
            )
        ],
        (
            "dedicatedPools.chat-floor.instanceType is 'g6.12xlarge': AWS sells no capacity blocks of it, because blocks "
            "exist for P4d, P4de, P5, P5e, P5en and P6 types; choose one of those, or another capacity.type."
        ),
    ),
    (
        "quota larger than the pools",
        [put("tenants.search.projects.assistant.quota.gpus", 40)],
        (
            "tenants: their GPU quotas add up to 46 (search/assistant 40, search/summaries 2, support/answers 4), more "
            "than the 10 GPUs that the dedicated pools can grow to, because a quota that no pool can fill is a promise "
            "that fails under load; lower quotas, or raise a pool's ceilingNodes."
        ),
    ),
    (
        "floor above ceiling",
        [put(f"{POOL}.floorNodes", 5)],
        (
            "dedicatedPools.chat-floor.floorNodes is 5: it must be at most ceilingNodes (2), because the least can't "
            "exceed the most; lower it, or raise ceilingNodes."
        ),
    ),
    (
        "misspelt key",
        [put(f"{POOL}.cielingNodes", 5)],
        (
            "dedicatedPools.chat-floor.cielingNodes is 5: there is no such setting, because a misspelt key would be "
            "ignored in silence; did you mean 'ceilingNodes'? Otherwise choose one of: capacity, ceilingNodes, "
            "floorNodes, hourlyFloor, instanceType, nodeImage, nodeReleaseVersion, release and 6 more."
        ),
    ),
    (
        "Python spelling of a key",
        [put(f"{POOL}.replicas", 2), put("network.flow_log_retention_days", 3)],
        (
            "network.flow_log_retention_days is 3: there is no such setting, because a misspelt key would be ignored in "
            "silence; did you mean 'flowLogRetentionDays'? Otherwise choose one of: adopt, cidr, egress, "
            "flowLogRetentionDays, peeredCidrs, zones."
        ),
    ),
    (
        "missing key",
        [drop("network.cidr")],
        (
            "network.cidr: it is missing, because it has no default that would be right for every environment; add it; "
            "`headrace settings explain network.cidr` says what it means."
        ),
    ),
    (
        "image by tag",
        [put("releases.llama-3-1-8b-fp8.image", "vllm/vllm-openai:latest")],
        (
            "releases.llama-3-1-8b-fp8.image is 'vllm/vllm-openai:latest': an image must be given by digest, "
            "repository@sha256:<64 hex digits>, because a tag can be moved to another image and then the two halves of "
            "the stack run different code; resolve the tag with `docker buildx imagetools inspect` or `crane digest` and "
            "write the digest."
        ),
    ),
    (
        "compromised image",
        [put("router.image", "ghcr.io/berriai/litellm:v1.107.0@sha256:" + "a" * 64)],
        (
            f"router.image is 'ghcr.io/berriai/litellm:v1.107.0@sha256:{'a' * 64}': litellm v1.107.0 is known to be "
            "compromised, because malicious cook.pth and sitecustomize.py, 21 October 2026; use another version, and "
            "rotate every secret that this one could read."
        ),
    ),
    (
        "artifact in another bucket",
        [put("releases.llama-3-1-8b-fp8.artifactUri", "s3://other/llama")],
        (
            "releases.llama-3-1-8b-fp8.artifactUri is 's3://other/llama': it must lie in the model store's bucket "
            "acme-sandbox-models, because pods may read no other bucket, and object lock keeps releases in this one; copy "
            "the artifact to s3://acme-sandbox-models/ and write that address."
        ),
    ),
    (
        "unknown workload",
        [put(f"{POOL}.workload", "chatt")],
        (
            "dedicatedPools.chat-floor.workload is 'chatt': there is no workload of that name, because workloads does not "
            "define it; did you mean 'chat'? Otherwise choose one of: chat, digest."
        ),
    ),
    (
        "unknown release",
        [put("workloads.chat.release", "llama")],
        (
            "workloads.chat.release is 'llama': there is no model release of that name, because releases does not define "
            "it; choose one of: llama-3-1-8b-fp8."
        ),
    ),
    (
        "context longer than the release's",
        [put("workloads.chat.contextTokens", 32768)],
        (
            "workloads.chat.contextTokens is 32768: it must be at most 16384, the context of release 'llama-3-1-8b-fp8', "
            "because the model server refuses longer requests; shorten the context, or record a release with a longer "
            "one."
        ),
    ),
    (
        "residency elsewhere",
        [put("workloads.chat.residency", ["US"])],
        (
            "region is 'eu-central-1': it must lie in the residency of the workload 'chat' (US), because it lies in EU, "
            "and router, logs and audit records are kept in the region; move the workload to a stack in its jurisdiction, "
            "or extend its residency."
        ),
    ),
    (
        "unknown jurisdiction",
        [put("workloads.chat.residency", ["EU", "GDPR"])],
        (
            "workloads.chat.residency[1] is 'GDPR': it must be a jurisdiction of the catalogue, because a place can't be "
            "compared with an unknown one; choose one of: AE, APAC, AU, BR, CA, CH, EEA, EU and 9 more."
        ),
    ),
    (
        "bad cron",
        [put("dedicatedPools.digest-floor.schedules.0.cron", "0 25 * * *")],
        (
            "dedicatedPools.digest-floor.schedules[0].cron is '0 25 * * *': it must be a cron expression of five fields, "
            "because '25' is no hour (0 to 23); write for instance '0 7 * * MON-FRI'."
        ),
    ),
    (
        "bad time zone",
        [put("dedicatedPools.digest-floor.schedules.0.timeZone", "Berlin")],
        (
            "dedicatedPools.digest-floor.schedules[0].timeZone is 'Berlin': it must be an IANA time zone, because offsets "
            "such as UTC+1 don't know daylight saving; write a name such as Europe/Berlin or UTC."
        ),
    ),
    (
        "two schedules of one name",
        [put("dedicatedPools.digest-floor.schedules.1.name", "night")],
        (
            "dedicatedPools.digest-floor.schedules[1].name is 'night': two schedules of a pool can't share a name, "
            "because the second would replace the first; rename one."
        ),
    ),
    (
        "an hourly floor beside schedules",
        [put("dedicatedPools.digest-floor.hourlyFloor", {})],
        (
            "dedicatedPools.digest-floor.schedules is 'night, morning': a pool with hourlyFloor can't have schedules, "
            "because each would undo what the other set; remove one of the two."
        ),
    ),
    (
        "an hourly floor with a fixed number of model servers",
        [put(f"{POOL}.hourlyFloor", {}), put(f"{POOL}.replicas", 4)],
        (
            "dedicatedPools.chat-floor.replicas is 4: a pool with hourlyFloor can't fix its model servers, because their "
            "number follows its nodes, which come and go; remove it, or hourlyFloor."
        ),
    ),
    (
        "schedules with a fixed number of model servers",
        [put("dedicatedPools.digest-floor.replicas", 1)],
        (
            "dedicatedPools.digest-floor.replicas is 1: a pool with schedules can't fix its model servers, because their "
            "number follows its nodes, which come and go; remove it, or schedules."
        ),
    ),
    (
        "more model servers than the ceiling holds",
        [put(f"{POOL}.replicas", 9)],
        (
            "dedicatedPools.chat-floor.replicas is 9: it must be at most 8, because a node holds 4 of them and the ceiling is "
            "2 nodes, the rest would never start; lower it, or raise the ceiling."
        ),
    ),
    (
        "a reservation that nobody made",
        [put(f"{POOL}.capacity", {"type": "reservation", "zone": "eu-central-1a"})],
        (
            "dedicatedPools.chat-floor.capacity.reservationId: a reservation needs its id, because this stack makes no "
            "reservations, it uses those that somebody approved and made; copy the id from `aws ec2 "
            "describe-capacity-reservations`."
        ),
    ),
    (
        "logs kept for a number of days that does not exist",
        [put("dataStores.database.logRetentionDays", 100)],
        (
            "dataStores.database.logRetentionDays is 100: it must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, "
            "400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653, because CloudWatch Logs knows no other; write 120."
        ),
    ),
    (
        "a cluster that nobody may administer",
        [put("cluster.adminPrincipalArns", [])],
        (
            "cluster.adminPrincipalArns: it must name at least one IAM role, because the creator of the cluster gets no rights "
            "of its own, so nobody could deploy to it; name the role that runs the pipeline."
        ),
    ),
    (
        "a router whose overflow no route leads to",
        [put("network.egress", "none")],
        (
            "network.egress is 'none': for a router with serverless pools it must be nat-per-zone, because it could reach none "
            "of them, so what spills would fail; set it to nat-per-zone, or remove the serverless pools."
        ),
    ),
    (
        "a warm-up without machines that reach the vendor",
        [drop("router.image")],
        (
            "serverlessPools.chat-overflow.warmUp: on RunPod it needs the stack's own router, because the job that sets the "
            "minimum runs on the router's machines, the only ones with a way out; set router.image, or use minInstances."
        ),
    ),
    (
        "a GPU that the vendor does not sell",
        [put("serverlessPools.digest-overflow.gpu", "RTX-4090"), put("releases.llama-3-1-8b-fp8.weightsGib", 8)],
        (
            "serverlessPools.digest-overflow.gpu is 'RTX-4090': it is not sold by Modal, because the catalogue knows A100-40GB, "
            "A100-80GB, A10G, B200, B300, H100, H200, L4, L40S, RTX-PRO-6000, T4; choose one of those, or the other provider."
        ),
    ),
    (
        "weights in two data centres",
        [put("serverlessPools.chat-overflow.regions", ["EU-RO-1", "EU-CZ-1"])],
        (
            "serverlessPools.chat-overflow.regions is 'EU-RO-1, EU-CZ-1': it must name one data centre where the pool has no "
            "`volume`, because the volume with the weights lies in one data centre, and workers start only beside it; name one "
            "data centre, or the id of a volume that you made."
        ),
    ),
    (
        "a canary that no pool runs",
        [put("releases.next", RELEASE), put("router.canaryPercent", {"chat": {"next": 5}})],
        (
            "router.canaryPercent.chat.next is 5.0: no pool of workload 'chat' runs the release, because that share of its "
            "conversations would be refused; name it as the `release` of a pool, or set the share to 0."
        ),
    ),
    (
        "a pool whose release nobody gets",
        [put("releases.next", RELEASE), put("serverlessPools.chat-overflow.release", "next")],
        (
            "serverlessPools.chat-overflow.release is 'next': it must be workload 'chat''s own (llama-3-1-8b-fp8) or one of its "
            "canaries, because nothing would send it a request; give it a share in router.canaryPercent.chat, or remove it."
        ),
    ),
    (
        "a canary with too short a context",
        [
            put("releases.next", {**RELEASE, "maxContextTokens": 4096}),
            put("router.canaryPercent", {"chat": {"next": 5}}),
            put("serverlessPools.chat-overflow.release", "next"),
        ],
        (
            "serverlessPools.chat-overflow.release is 'next': it must take the 8192 tokens of workload 'chat', it takes 4096, "
            "because the model server would refuse longer requests; record a release with a longer context."
        ),
    ),
    (
        "a workload whose own release nobody runs",
        [
            put("releases.next", RELEASE),
            put("router.canaryPercent", {"digest": {"next": 5}}),
            put("serverlessPools.digest-overflow.release", "next"),
            drop("dedicatedPools.digest-floor"),
            drop("tenants"),
            drop("router.apiKeys"),
        ],
        (
            "workloads.digest.release is 'llama-3-1-8b-fp8': no pool of the workload runs it, because conversations that are in "
            "no canary would be refused; remove `release` from one of its pools."
        ),
    ),
    (
        "two projects of one namespace",
        [
            put("tenants.a-b", {"budgetUsdPerMonth": 2, "projects": {"c": PROJECT}}),
            put("tenants.a", {"budgetUsdPerMonth": 2, "projects": {"b-c": PROJECT}}),
        ],
        (
            "tenants.a.projects.b-c is 'a-b-c-sandbox': the namespace of that name belongs to tenants.a-b.projects.c, because a "
            "cluster has only one; rename it."
        ),
    ),
    (
        "a pool whose namespace is a tenant's",
        [
            put("tenants.pool", {"budgetUsdPerMonth": 2, "projects": {"chat": PROJECT}}),
            lambda tree: tree["dedicatedPools"].update({"chat-sandbox": tree["dedicatedPools"].pop("chat-floor")}),
        ],
        (
            "tenants.pool.projects.chat is 'pool-chat-sandbox': the namespace of that name belongs to "
            "dedicatedPools.chat-sandbox, because a cluster has only one; rename it."
        ),
    ),
    (
        "a pool that is called like a part of another",
        [
            lambda tree: tree["dedicatedPools"].update(
                {"chat-floor-replicas": tree["dedicatedPools"].pop("digest-floor")}
            )
        ],
        (
            "dedicatedPools.chat-floor-replicas: this name belongs to a part of dedicatedPools.chat-floor, because a stack has "
            "a name only once; rename it."
        ),
    ),
    (
        "schedules of two pools with one name",
        [
            lambda tree: tree["dedicatedPools"].update({"digest-floor-at": tree["dedicatedPools"].pop("chat-floor")}),
            put(
                "dedicatedPools.digest-floor-at.schedules",
                [{"name": "night", "cron": "0 1 * * *", "floorNodes": 1, "ceilingNodes": 2}],
            ),
            put("dedicatedPools.digest-floor.schedules.0.name", "at-night"),
        ],
        (
            "dedicatedPools.digest-floor-at.schedules is 'night': together with the pool's name it is digest-floor-at-night, as "
            "a schedule of dedicatedPools.digest-floor is, because a stack has a name only once; rename it."
        ),
    ),
    (
        "a collector of traces on a port that nothing leads to",
        [put("router.otlpEndpoint", "https://otlp.example.com:4318")],
        (
            "router.otlpEndpoint is 'https://otlp.example.com:4318': outside of the cluster it must be a public HTTPS address on "
            "port 443, because the router reaches no other collector, and its traces would be lost; run a collector in the "
            "cluster, and name that: it can pass them on."
        ),
    ),
    (
        "a collector of traces without a namespace",
        [put("router.otlpEndpoint", "http://collector:4318")],
        (
            "router.otlpEndpoint is 'http://collector:4318': it must name the collector's namespace, because the router reaches "
            "no other collector, and its traces would be lost; write collector.NAMESPACE, of a namespace with the label "
            "headrace.dev/role: monitoring."
        ),
    ),
    (
        "more replicas at least than at most",
        [put("router.minReplicas", 5), put("router.maxReplicas", 4)],
        (
            "router.minReplicas is 5: it must be at most maxReplicas (4), because the least can't exceed the most; lower it, or "
            "raise maxReplicas."
        ),
    ),
    (
        "an ARM machine for an x86 image",
        [put("router.instanceType", "m7g.xlarge")],
        (
            "router.instanceType is 'm7g.xlarge': it must be an x86 machine, because the node image is built for x86, and EKS "
            "makes no node group of the two; take the same size of an x86 family, for instance m7i."
        ),
    ),
    (
        "prices of a day before all prices",
        [
            put("router.priceDate", "2020-01-01"),
            drop("dedicatedPools.chat-floor"),
            drop("dedicatedPools.digest-floor"),
            drop("tenants"),
            drop("router.apiKeys"),
        ],
        (
            "router.priceDate is '2020-01-01': on that day there is no price of modal/L4/flex, modal/L40S/flex, "
            "runpod/L4/flex, because a missing price is never taken for zero; take a later day, or remove it: then the "
            "catalogue's newest prices hold."
        ),
    ),
    (
        "more thresholds than a budget takes",
        [put("budgets.alertThresholdsPercent", list(range(10, 101, 9)))],
        (
            "budgets.alertThresholdsPercent is '11 values': it must have one to 9, because AWS takes ten notifications per "
            "budget, and one tells of the forecast; keep the few that somebody acts upon."
        ),
    ),
    (
        "a database that starts above its most",
        [put("dataStores.database.maxStorageGib", 20), put("dataStores.database.storageGib", 50)],
        (
            "dataStores.database.maxStorageGib is 20: it must be at least storageGib (50), because it is the most that storage "
            "grows to by itself; raise it."
        ),
    ),
    (
        "an hourly floor of reserved machines",
        [
            put(f"{POOL}.hourlyFloor", {}),
            put(
                f"{POOL}.capacity",
                {"type": "reservation", "zone": "eu-central-1a", "reservationId": "cr-0123456789abcdef0"},
            ),
        ],
        (
            "dedicatedPools.chat-floor.hourlyFloor is 'reservation': only an on-demand pool can follow its traffic, because "
            "reserved machines are paid whether they run or not; remove hourlyFloor, or take on-demand capacity."
        ),
    ),
    (
        "an hourly floor without a router",
        [put(f"{POOL}.hourlyFloor", {}), drop("router.image")],
        (
            "dedicatedPools.chat-floor.hourlyFloor: it needs the stack's own router, because without router.image there is "
            "no ledger to read traffic from, and no image to run the job with; set router.image, or use schedules."
        ),
    ),
    (
        "an hourly floor without an overflow",
        [put(f"{POOL}.hourlyFloor", {}), drop("serverlessPools.chat-overflow")],
        (
            "dedicatedPools.chat-floor.hourlyFloor is 'chat': its workload needs a serverless pool, because without one all "
            "of it is dedicated, and there is no price to weigh a node against; add a serverless pool for the workload, or "
            "use floorNodes and schedules."
        ),
    ),
    (
        "an hourly floor beside another pool of the workload",
        [
            put(f"{POOL}.hourlyFloor", {"leadTimeS": 300}),
            put("dedicatedPools.digest-floor.workload", "chat"),
        ],
        (
            "dedicatedPools.chat-floor.hourlyFloor is 'digest-floor': its workload must have no other dedicated pool, "
            "because the traffic of the workload would be taken for this pool's alone; give each pool a workload of its "
            "own, or remove hourlyFloor."
        ),
    ),
    (
        "project budgets above the tenant's",
        [put("tenants.support.projects.answers.budgetUsdPerMonth", 7000)],
        (
            "tenants.support.budgetUsdPerMonth is 5000.0: it must be at least what its projects may spend together "
            "(7,000.00), because otherwise the tenant's budget stops a project that kept its own; raise it, or lower the "
            "projects' budgets."
        ),
    ),
    (
        "tenant budgets above the environment's",
        [put("budgets.environmentUsdPerMonth", 13999)],
        (
            "budgets.environmentUsdPerMonth is 13999.0: it must be at least what the tenants may spend together "
            "(14,000.00), because otherwise the environment's budget stops a tenant that kept its own; raise it, or lower "
            "the tenants' budgets."
        ),
    ),
    (
        "wrong ARN",
        [put("cluster.adminPrincipalArns", ["arn:aws:iam::1234:role/x"])],
        (
            "cluster.adminPrincipalArns[0] is 'arn:aws:iam::1234:role/x': it must be the ARN of an IAM role or user, such "
            "as arn:aws:iam::123456789012:role/platform, because access entries and bucket policies name exactly one "
            "principal each; copy the ARN from `aws iam get-role`."
        ),
    ),
    (
        "long name",
        [put("organization", "acme-research-and-development")],
        (
            "organization is 'acme-research-and-development': a name must be 1 to 20 lower-case letters, digits and "
            "hyphens, starting with a letter, because it becomes part of cloud names and of Kubernetes namespaces of at "
            "most 63 characters; choose a shorter or simpler name."
        ),
    ),
    (
        "unknown serverless GPU",
        [
            put(
                "serverlessPools.chat-overflow",
                {"provider": "runpod", "workload": "chat", "gpu": "H1000", "minInstances": 0, "maxInstances": 2},
            )
        ],
        (
            "serverlessPools.chat-overflow.gpu is 'H1000': it must be a GPU of the catalogue, because memory and compute "
            "capability of others are not known; did you mean 'H100'? Otherwise choose one of: A10, A100-40GB, A100-80GB, "
            "A10G, A30, A40, B200, B300 and 20 more."
        ),
    ),
    (
        "unknown data centre",
        [
            put(
                "serverlessPools.chat-overflow",
                {
                    "provider": "runpod",
                    "workload": "chat",
                    "gpu": "L4",
                    "minInstances": 0,
                    "maxInstances": 2,
                    "concurrencyPerInstance": 16,
                    "regions": ["EU-RO-7"],
                },
            )
        ],
        (
            "serverlessPools.chat-overflow.regions[0] is 'EU-RO-7': it must be a RunPod data centre of the catalogue, "
            "because its jurisdiction is not known otherwise; did you mean 'EU-RO-1'? Otherwise choose one of: AP-IN-1, "
            "AP-JP-1, CA-MTL-1, CA-MTL-2, CA-MTL-3, EU-CZ-1, EU-FR-1, EU-NL-1 and 20 more."
        ),
    ),
    (
        "spill thresholds without a gap",
        [put("router.spill.stopAtPercent", 90)],
        (
            "router.spill.stopAtPercent is 90.0: it must be less than startAtPercent (85), because without a gap the "
            "router would switch back and forth; lower it by 10 or more."
        ),
    ),
    (
        "a secret where none belongs",
        [put("region", {"secure": "AAABAIbN0Ux"})],
        (
            "region is 'an encrypted value': this setting can't be a secret, because policies and previews must read it; "
            "write it in plain, and keep secrets to settings that are marked as such."
        ),
    ),
    (
        "text for a number",
        [put(f"{POOL}.ceilingNodes", "many")],
        "dedicatedPools.chat-floor.ceilingNodes is 'many': it must be a whole number; write digits without quotes.",
    ),
    (
        "not one of the kinds",
        [put("workloads.chat.class", "realtime")],
        (
            "workloads.chat.class is 'realtime': it must be one of latency-sensitive, memory-bound, batch; choose one of: "
            "batch, latency-sensitive, memory-bound."
        ),
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_bad_setting_gets_one_sentence(tree: Tree, changes: list[Callable[[Tree], None]], sentence: str) -> None:
    for change in changes:
        change(tree)
    with pytest.raises(Refused) as refused:
        load(tree)
    sentences = [str(problem) for problem in refused.value.problems]
    assert sentence in sentences
    assert "\n" not in sentence, "a refusal is one sentence on one line"


def test_the_untouched_tree_is_valid_without_a_warning(tree: Tree) -> None:
    verdict = validate(tree, today=TODAY)
    assert verdict.settings is not None
    assert not verdict.warnings


def test_every_problem_is_found_in_one_run(tree: Tree) -> None:
    put("dedicatedPools.chat-floor.instanceType", "g6.12xlrage")(tree)
    put("workloads.chat.release", "llama")(tree)
    put("network.peeredCidrs", ["10.10.128.0/17"])(tree)
    put("tenants.support.projects.answers.budgetUsdPerMonth", 7000)(tree)
    paths = {problem.path for problem in validate(tree).problems}
    assert paths == {
        "dedicatedPools.chat-floor.instanceType",
        "workloads.chat.release",
        "network.peeredCidrs[0]",
        "tenants.support.budgetUsdPerMonth",
    }


def test_a_misspelt_key_does_not_hide_what_else_is_wrong(tree: Tree) -> None:
    put("network.zoness", [])(tree)
    put("dedicatedPools.chat-floor.floorNodes", 5)(tree)
    assert {problem.path for problem in validate(tree).problems} == {
        "network.zoness",
        "dedicatedPools.chat-floor.floorNodes",
    }


def test_a_secret_stays_out_of_sight(tree: Tree) -> None:
    put("budgets.alertWebhookUrl", {"secure": "AAABAIbN0Ux"})(tree)
    assert load(tree).budgets.alert_webhook_url is not None
    put("budgets.alertWebhookUrl", "https://hooks.example/T0/B1/s3cr3t")(tree)
    assert "s3cr3t" not in repr(load(tree)), "a secret never prints"


@pytest.mark.parametrize("bad", [5, ["https://hooks.example/s3cr3t"], {"secure": 5, "plain": "s3cr3t"}])
def test_a_secret_of_the_wrong_shape_is_not_quoted(tree: Tree, bad: object) -> None:
    put("budgets.alertWebhookUrl", bad)(tree)
    (problem,) = validate(tree).problems
    assert "s3cr3t" not in str(problem)


def test_a_version_near_its_end_of_support_warns(tree: Tree) -> None:
    put("cluster.version", "1.34")(tree)
    (warning,) = validate(tree, today=TODAY).warnings
    assert str(warning) == (
        "cluster.version is '1.34': standard support ends on 2026-12-02, because AWS then bills extended support by "
        "the cluster-hour, or upgrades by itself where that is off; plan the upgrade to 1.36."
    )
    (ended,) = validate(tree, today=date(2026, 12, 2)).warnings
    assert "standard support ended on 2026-12-02" in str(ended)


def test_more_slots_than_the_cache_holds_warn(tree: Tree) -> None:
    put("dedicatedPools.chat-floor.slotsPerReplica", 64)(tree)
    (warning,) = validate(tree, today=TODAY).warnings
    assert "only 23 requests at 8192 tokens fit" in str(warning)


def test_a_family_not_sold_in_the_region_warns(tree: Tree) -> None:
    put("dedicatedPools.chat-floor.instanceType", "p5.48xlarge")(tree)
    (warning,) = validate(tree, today=TODAY).warnings
    assert "AWS did not offer p5 in eu-central-1" in str(warning)
