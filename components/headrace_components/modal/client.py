"""Modal's SDK behind the few calls that the resources need. Everything here blocks; callers run it in a thread.

Only public API of `modal` 1.6 is used (`App.deploy`, `Function.autoscaler`, `Function.info`, `Secret`, `Volume`): the
vendor calls its wire protocol unsupported. The SDK is imported when the first call needs it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace_components.provider.resource import ProviderError

if TYPE_CHECKING:
    import modal

T = TypeVar("T")
FUNCTION: Final = "serve"
WARM_UP: Final = "warm_up"
_OWNER_TAG: Final = "headrace-owner"


@dataclass(frozen=True, kw_only=True)
class Autoscaler:
    """What can be changed without a deployment."""

    min_containers: int
    max_containers: int | None
    buffer_containers: int
    scaledown_window: int


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """All that an app is deployed from."""

    name: str
    owner: str
    image: str
    command: Sequence[str]
    gpus: Sequence[str]
    env: Mapping[str, str]
    secrets: Sequence[str]
    volumes: Mapping[str, str]
    regions: Sequence[str]
    routing_region: str
    cloud: str | None
    nonpreemptible: bool
    port: int
    proxy_auth: bool
    timeout: int
    startup_timeout: int
    target_concurrency: int
    max_concurrency: int
    autoscaler: Autoscaler
    schedule: Sequence[Mapping[str, Any]] = ()
    lead_time_s: int = 0


@dataclass(frozen=True, kw_only=True)
class LiveApp:
    """What the vendor tells of a deployed app."""

    app_id: str
    owner: str | None
    url: str
    image_id: str
    gpus: tuple[tuple[str, int], ...]
    regions: tuple[str, ...]
    routing_region: str | None
    cloud: str | None
    nonpreemptible: bool
    proxy_auth: bool
    timeout: int
    target_concurrency: int | None
    max_concurrency: int | None
    volumes: Mapping[str, str]
    autoscaler: Autoscaler


@dataclass
class ModalClient:
    """One workspace and environment."""

    server_url: str | None
    token_id: str = field(repr=False)
    token_secret: str = field(repr=False)
    environment: str | None
    _client: Any = field(default=None, init=False, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def _sdk(self) -> tuple[Any, modal.Client]:
        with self._guard:
            if self.server_url is not None:
                os.environ["MODAL_SERVER_URL"] = self.server_url  # the SDK has no argument for it
            import modal

            if self._client is None:
                try:
                    self._client = modal.Client.from_credentials(self.token_id, self.token_secret)
                except modal.exception.Error as error:
                    raise _refusal("connect", error) from error
            return modal, self._client

    def _ask(self, what: str, work: Callable[[Any, modal.Client], T]) -> T:
        sdk, client = self._sdk()
        try:
            return work(sdk, client)
        except (sdk.exception.Error, OSError) as error:
            raise _refusal(what, error) from error

    def _ask_or_none(self, what: str, work: Callable[[Any, modal.Client], T]) -> T | None:
        sdk, client = self._sdk()
        try:
            return work(sdk, client)
        except sdk.exception.NotFoundError:
            return None
        except (sdk.exception.Error, OSError) as error:
            raise _refusal(what, error) from error

    def deploy(self, wanted: Deployment) -> None:
        """Deploy, then assert the autoscaler's settings: a deployment wipes what was set over the declared ones."""

        def work(sdk: Any, client: modal.Client) -> None:
            app = sdk.App(wanted.name, tags={_OWNER_TAG: wanted.owner})
            _declare(sdk, app, wanted, self.environment)
            app.deploy(environment_name=self.environment, client=client)

        self._ask(f"deploy {wanted.name}", work)

    def assert_autoscaler(self, name: str, wanted: Autoscaler) -> None:
        """Set the autoscaler, without a deployment."""

        def work(sdk: Any, client: modal.Client) -> None:
            self._function(sdk, client, name).autoscaler.update(
                min_containers=wanted.min_containers,
                max_containers=wanted.max_containers,
                buffer_containers=wanted.buffer_containers,
                scaledown_window=wanted.scaledown_window,
            )

        self._ask(f"set the autoscaler of {name}", work)

    def _function(self, sdk: Any, client: modal.Client, name: str) -> Any:
        return sdk.Function.from_name(name, FUNCTION, environment_name=self.environment, client=client)

    def owner(self, name: str) -> tuple[str, str | None] | None:
        """Id of the app of that name, and who deployed it (None: not us); None if there is no such app."""

        def work(sdk: Any, client: modal.Client) -> tuple[str, str | None]:
            app = sdk.App.lookup(name, environment_name=self.environment, client=client)
            return str(app.app_id), app.get_tags(client=client).get(_OWNER_TAG)

        return self._ask_or_none(f"look up {name}", work)

    def read(self, name: str) -> LiveApp | None:
        """The app as it is deployed now; None if there is none."""

        def work(sdk: Any, client: modal.Client) -> LiveApp:
            app = sdk.App.lookup(name, environment_name=self.environment, client=client)
            function = self._function(sdk, client, name)
            function.hydrate(client)
            info, scaling = function.info(refresh=True), function.autoscaler.settings()
            return LiveApp(
                app_id=str(app.app_id),
                owner=app.get_tags(client=client).get(_OWNER_TAG),
                url=info.web_info.web_url if info.web_info else "",
                image_id=info.image_info.image_id or "",
                gpus=tuple((str(kind), int(count)) for kind, count in info.gpus),
                regions=tuple(info.regions or ()),
                routing_region=info.routing_region or None,
                cloud=info.cloud,
                nonpreemptible=bool(info.nonpreemptible),
                proxy_auth=bool(info.web_info and not info.web_info.unauthenticated),
                timeout=int(info.timeout),
                target_concurrency=info.concurrency_info.target_inputs if info.concurrency_info else None,
                max_concurrency=info.concurrency_info.max_inputs if info.concurrency_info else None,
                volumes={path: one.volume_id for path, one in info.volumes.items()},
                autoscaler=Autoscaler(
                    min_containers=scaling.min_containers or 0,
                    max_containers=scaling.max_containers,
                    buffer_containers=scaling.buffer_containers or 0,
                    scaledown_window=scaling.scaledown_window or 0,
                ),
            )

        return self._ask_or_none(f"read {name}", work)

    def stats(self, name: str) -> tuple[int, int] | None:
        """Requests that wait and containers that run; None if there is no such app."""

        def work(sdk: Any, client: modal.Client) -> tuple[int, int]:
            found = self._function(sdk, client, name).get_current_stats()
            return int(found.backlog), int(found.num_total_runners)

        return self._ask_or_none(f"read the queue of {name}", work)

    def stop(self, name: str) -> None:
        """Stop the app, which frees its name. Absent is success."""

        def work(sdk: Any, client: modal.Client) -> None:
            sdk.App.lookup(name, environment_name=self.environment, client=client).stop(client=client)

        self._ask_or_none(f"stop {name}", work)

    def apps(self) -> list[str]:
        """Names of the deployed apps."""

        def work(sdk: Any, client: modal.Client) -> list[str]:
            environment = sdk.Environment.from_name(self.environment or "main", client=client)
            return [str(app.name) for app in environment.apps.list() if app.name]

        return self._ask("list the apps", work)

    def secret_id(self, name: str) -> str | None:
        """Id of a secret (its values are never given back); None if there is no such secret."""

        def work(sdk: Any, client: modal.Client) -> str:
            secret = sdk.Secret.from_name(name, environment_name=self.environment, client=client)
            secret.hydrate(client)
            return str(secret.object_id)

        return self._ask_or_none(f"read the secret {name}", work)

    def create_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Store a new secret."""
        self._ask(
            f"create the secret {name}",
            lambda sdk, client: sdk.Secret.objects.create(
                name, dict(values), environment_name=self.environment, client=client
            ),
        )

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Set these keys; others stay. The id stays, so deployed apps see the new values in new containers."""

        def work(sdk: Any, client: modal.Client) -> None:
            secret = sdk.Secret.from_name(name, environment_name=self.environment, client=client)
            secret.hydrate(client)
            secret.update(dict(values))

        self._ask(f"update the secret {name}", work)

    def delete_secret(self, name: str) -> None:
        """Absent is success."""
        self._ask(
            f"delete the secret {name}",
            lambda sdk, client: sdk.Secret.objects.delete(
                name, allow_missing=True, environment_name=self.environment, client=client
            ),
        )

    def volume_id(self, name: str) -> str | None:
        """Id of a volume; None if there is no such volume."""

        def work(sdk: Any, client: modal.Client) -> str:
            volume = sdk.Volume.from_name(name, environment_name=self.environment, client=client)
            volume.hydrate(client)
            return str(volume.object_id)

        return self._ask_or_none(f"read the volume {name}", work)

    def create_volume(self, name: str, version: int) -> None:
        """Make a volume; one that exists stays as it is."""
        self._ask(
            f"create the volume {name}",
            lambda sdk, client: sdk.Volume.objects.create(
                name, version=version, allow_existing=True, environment_name=self.environment, client=client
            ),
        )

    def delete_volume(self, name: str) -> None:
        """Absent is success."""
        self._ask(
            f"delete the volume {name}",
            lambda sdk, client: sdk.Volume.objects.delete(
                name, allow_missing=True, environment_name=self.environment, client=client
            ),
        )


def _declare(sdk: Any, app: Any, wanted: Deployment, environment: str | None) -> None:
    """The functions of an app: the server, and where there is a schedule, the one that applies it."""
    # The wrapper runs on this Python, so the container gets the same minor version beside the image's own.
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    image = sdk.Image.from_registry(wanted.image, add_python=python).entrypoint([])
    secrets = [sdk.Secret.from_name(name, environment_name=environment) for name in wanted.secrets]
    serve = sdk.web_server(wanted.port, startup_timeout=wanted.startup_timeout, requires_proxy_auth=wanted.proxy_auth)(
        server(tuple(wanted.command))
    )
    concurrent = sdk.concurrent(max_inputs=wanted.max_concurrency, target_inputs=wanted.target_concurrency)(serve)
    app.function(
        serialized=True,
        name=FUNCTION,
        image=image,
        gpu=list(wanted.gpus) if len(wanted.gpus) > 1 else wanted.gpus[0],
        env=dict(wanted.env) or None,
        secrets=secrets,
        volumes={
            path: sdk.Volume.from_name(name, environment_name=environment) for path, name in wanted.volumes.items()
        },
        region=list(wanted.regions) or None,
        routing_region=wanted.routing_region,
        cloud=wanted.cloud,
        nonpreemptible=wanted.nonpreemptible,
        timeout=wanted.timeout,
        startup_timeout=wanted.startup_timeout,
        min_containers=wanted.autoscaler.min_containers,
        max_containers=wanted.autoscaler.max_containers,
        buffer_containers=wanted.autoscaler.buffer_containers,
        scaledown_window=wanted.autoscaler.scaledown_window,
        include_source=False,
    )(concurrent)
    if wanted.schedule:
        app.function(
            serialized=True,
            name=WARM_UP,
            image=sdk.Image.debian_slim(python_version=python),
            schedule=sdk.Cron("*/5 * * * *"),
            region=list(wanted.regions) or None,
            timeout=60,
            max_containers=1,
            include_source=False,
        )(
            warm_up(
                wanted.name,
                FUNCTION,
                environment,
                list(map(dict, wanted.schedule)),
                wanted.autoscaler,
                wanted.lead_time_s,
            )
        )


def server(command: Sequence[str]) -> Callable[[], None]:
    """The constant wrapper: starts the image's own server. It is sent by value, so nothing of ours is in the
    container."""
    argv = list(command)

    def serve() -> None:
        import subprocess

        subprocess.Popen(argv)  # noqa: S603 - runs in the container, with the stack's own command

    return serve


def warm_up(
    app: str,
    function: str,
    environment: str | None,
    windows: list[dict[str, Any]],
    base: Autoscaler,
    lead_time_s: int,
) -> Callable[[], None]:
    """What the app's own timer runs: the minimum of this hour of the week, `lead_time_s` ahead, sent by value.

    It compares first, so that a quiet hour changes nothing, and it runs every five minutes, so that a missed run or a
    deployment in the middle of a window is put right.
    """
    least = base.min_containers

    def apply() -> None:
        import datetime
        import zoneinfo

        import modal

        now = datetime.datetime.now(datetime.UTC)
        wanted = least
        for window in windows:
            # One moment in each hour until then: a window may be shorter than the lead time.
            for ahead in (*range(0, lead_time_s, 3600), lead_time_s):
                moment = now + datetime.timedelta(seconds=ahead)
                local = moment.astimezone(zoneinfo.ZoneInfo(window["timeZone"]))
                if local.weekday() * 24 + local.hour in window["hours"]:
                    wanted = max(wanted, window["minInstances"])
        target = modal.Function.from_name(app, function, environment_name=environment)
        if (target.autoscaler.settings().min_containers or 0) != wanted:
            target.autoscaler.update(min_containers=wanted)

    return apply


def _refusal(what: str, error: Exception) -> ProviderError:
    text = " ".join(str(error).split()) or type(error).__name__
    return ProviderError(f"Modal would not {what}: {text} ({type(error).__name__})")
