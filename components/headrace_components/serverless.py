"""ServerlessEndpoint: a serverless GPU endpoint of either vendor, in one vocabulary."""

import json
import os
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from headrace.settings.releases import ModelRelease, Workload
from headrace.settings.serverless import ServerlessPool, ServerlessProvider
from headrace_components import images, inputs, kube, serverless_plan, warm_up
from headrace_components.place import PlaceArgs, read_place
from headrace_components.vendor_resources import ModalApp, ModalVolume, RunPodEndpoint, RunPodNetworkVolume

RUNPOD_REST_URL = "https://api.runpod.io/v2"


class WarmUpArgs(TypedDict):
    """Hours of the week with more minimum instances."""

    hours: list[int]
    """Hours of the week, 0 (Monday 00:00) to 167."""
    min_instances: int
    """Least instances in those hours."""
    time_zone: NotRequired[str]
    """IANA time zone, UTC by default."""


class ServerlessEndpointArgs(TypedDict):
    """Arguments of `ServerlessEndpoint`."""

    place: PlaceArgs
    """Where the endpoint belongs."""
    provider: str
    """`runpod` or `modal`."""
    workload: str
    """Name of the workload."""
    workload_settings: dict[str, Any]
    """The workload as settings describe it."""
    release_settings: dict[str, Any]
    """The model release that the workload names; the same that the dedicated pool runs."""
    gpu: str
    """GPU by the catalogue's name."""
    gpu_count: NotRequired[int]
    """GPUs of one instance, 1 by default."""
    gpu_fallbacks: NotRequired[list[str]]
    """GPUs to take where `gpu` is not free."""
    min_instances: int
    """Instances that always run, and are always paid."""
    max_instances: int
    """Most instances."""
    concurrency_per_instance: NotRequired[int]
    """Requests that one instance works on at once."""
    idle_timeout_s: NotRequired[int]
    """Seconds after which an idle instance stops."""
    execution_timeout_s: NotRequired[int]
    """Seconds after which a request is cut off."""
    regions: NotRequired[list[str]]
    """RunPod data centres or Modal regions; anywhere by default."""
    ingress_region: NotRequired[str]
    """Modal only: where requests enter."""
    volume: NotRequired[str]
    """Volume that holds the weights; the component makes one by default."""
    warm_up: NotRequired[list[WarmUpArgs]]
    """Minimum instances by hour of the week, applied by a scheduled job."""
    warm_up_lead_time_s: NotRequired[int]
    """Seconds before a window at which the minimum rises."""
    warm_up_image: NotRequired[pulumi.Input[str]]
    """RunPod only: image of the scheduled job, for clusters that pull from a registry of their own."""


class ServerlessEndpoint(pulumi.ComponentResource):
    """A serverless GPU endpoint that serves one workload: a RunPod endpoint or a Modal app with the volume that holds
    its weights, and the job that raises its minimum instances on schedule. Outputs have the same names whichever
    vendor."""

    base_url: pulumi.Output[str]
    """Base address of the OpenAI-compatible API, `/v1` included."""
    request_headers: pulumi.Output[dict[str, str]]
    """Headers that let a request in; a secret."""
    endpoint_id: pulumi.Output[str]
    """The vendor's id (RunPod) or name (Modal) of the endpoint."""
    volume_id: pulumi.Output[str]
    """The volume that holds the weights."""

    def __init__(self, name: str, args: ServerlessEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        path = f"serverlessPools.{name}"
        place = read_place(args["place"])
        inputs.require_plain(args["workload_settings"], f"{path}.workloadSettings")
        inputs.require_plain(args["release_settings"], f"{path}.releaseSettings")
        plan = serverless_plan.plan_endpoint(
            name,
            place,
            settings=inputs.read(ServerlessPool, args, path),
            workload=inputs.read_model(Workload, args["workload_settings"], f"workloads.{args['workload']}"),
            release=inputs.read_model(ModelRelease, args["release_settings"], f"{path}.release"),
        )
        facts = plan.facts.to_props()
        super().__init__("headrace:index:ServerlessEndpoint", name, {"facts": facts}, opts)
        self._name = name
        self._plan = plan
        self._options = pulumi.ResourceOptions(parent=self)
        if plan.settings.provider is ServerlessProvider.RUNPOD:
            self._runpod(args.get("warm_up_image") or images.PYTHON)
        else:
            self._modal()
        self.register_outputs(
            {
                "base_url": self.base_url,
                "request_headers": self.request_headers,
                "endpoint_id": self.endpoint_id,
                "volume_id": self.volume_id,
                "facts": facts,
            }
        )

    def _runpod(self, image: pulumi.Input[str]) -> None:
        settings = self._plan.settings
        key = credential("runpodApiKey", "RUNPOD_API_KEY", f"serverlessPools.{self._name}")
        volume: pulumi.Input[str] | None = settings.volume
        if volume is None:
            volume = RunPodNetworkVolume(
                self._name,
                {"size": serverless_plan.volume_gb(self._plan.release), "dataCenter": settings.regions[0]},
                self._options,
            ).id
        # The job owns the minimum where there is a schedule; setting it back in the middle of a window would cool down
        # what was just warmed up.
        ignored = ["workers.min"] if settings.warm_up else None
        endpoint = RunPodEndpoint(
            self._name,
            serverless_plan.endpoint_inputs(self._plan, volume),
            pulumi.ResourceOptions(parent=self, ignore_changes=ignored),
        )
        self.volume_id = pulumi.Output.from_input(volume)
        self.endpoint_id = endpoint.id
        self.base_url = endpoint.output("openaiBaseUrl")
        self.request_headers = key.apply(lambda text: {"Authorization": f"Bearer {text}"})
        if settings.warm_up:
            self._warm_up_job(endpoint, key, image)

    def _modal(self) -> None:
        settings = self._plan.settings
        where = f"serverlessPools.{self._name}"
        token = credential("modalProxyTokenId", "MODAL_PROXY_TOKEN_ID", where)
        secret = credential("modalProxyTokenSecret", "MODAL_PROXY_TOKEN_SECRET", where)
        volume: pulumi.Input[str] | None = settings.volume
        if volume is None:
            volume = ModalVolume(self._name, {}, self._options).id
        ignored = ["minContainers"] if settings.warm_up else None
        app = ModalApp(
            self._name,
            serverless_plan.app_inputs(self._plan, volume),
            pulumi.ResourceOptions(parent=self, ignore_changes=ignored),
        )
        self.volume_id = pulumi.Output.from_input(volume)
        self.endpoint_id = app.id
        self.base_url = app.output("openaiBaseUrl")
        self.request_headers = pulumi.Output.all(token, secret).apply(
            lambda pair: {"Modal-Key": pair[0], "Modal-Secret": pair[1]}
        )

    def _warm_up_job(self, endpoint: RunPodEndpoint, key: pulumi.Output[str], image: pulumi.Input[str]) -> None:
        name, settings = self._name, self._plan.settings
        schedule = {
            "minInstances": settings.min_instances,
            "leadTimeS": settings.warm_up_lead_time_s,
            "windows": serverless_plan.warm_up_windows(settings),
        }
        space = kubernetes.core.v1.Namespace(name, opts=self._options, **kube.properties(warm_up.namespace(name)))
        within = pulumi.ResourceOptions(parent=self, depends_on=[space])
        script = warm_up.script_map(name)
        script_map = kubernetes.core.v1.ConfigMap(f"{name}-warm-up", opts=within, **kube.properties(script))
        secret = kubernetes.core.v1.Secret(f"{name}-runpod", opts=within, **kube.properties(warm_up.secret(name, key)))
        for policy, manifest in warm_up.network_policies(name).items():
            kubernetes.networking.v1.NetworkPolicy(f"{name}-{policy}", opts=within, **kube.properties(manifest))
        job = warm_up.cron_job(
            name,
            "",
            script["metadata"]["name"],
            rest_url=pulumi.Config("headrace").get("runpodRestUrl")
            or os.environ.get("RUNPOD_REST_URL")
            or RUNPOD_REST_URL,
            endpoint=endpoint.id,
            schedule=json.dumps(schedule, sort_keys=True),
        )
        pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        pod["containers"][0]["image"] = image
        kubernetes.batch.v1.CronJob(
            f"{name}-warm-up",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[space, script_map, secret]),
            **kube.properties(job),
        )


def credential(key: str, variable: str, path: str) -> pulumi.Output[str]:
    """A secret of the provider's configuration, or of the environment; empty with a warning where neither has it (the
    provider refuses to make anything without its own credentials, so a preview on a machine without them goes on)."""
    configured = pulumi.Config("headrace").get_secret(key)
    if configured is not None:
        return configured
    value = os.environ.get(variable)
    if not value:
        pulumi.log.warn(
            f"headrace:{key} is not set, so {path} can't be called with what this stack puts out; run "
            f"`pulumi config set --secret headrace:{key}` or set {variable}"
        )
    return pulumi.Output.secret(value or "")
