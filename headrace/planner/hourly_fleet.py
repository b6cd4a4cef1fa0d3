"""What a decision is carried out on: the Auto Scaling group of a pool's nodes, and its Deployment of model servers.

The group is set as Cluster Autoscaler and a scheduled action do it (`SetDesiredCapacity`); starting and draining nodes
is EKS's. A node without model servers serves nobody, so their number follows the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.errors import Refused, refuse

if TYPE_CHECKING:
    import httpx

ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_S: Final = 20.0
_KEEPS: Final = "the fleet stays as it is"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A group's bounds and what it is asked to hold, in nodes."""

    least: int
    most: int
    desired: int


class ScalingGroup:
    """One Auto Scaling group. Raises `Refused` in one sentence."""

    def __init__(self, name: str, region: str) -> None:
        import boto3  # a second of import that only a run pays
        from botocore.config import Config

        self.name = name
        self._client: Any = boto3.client(
            "autoscaling",
            region_name=region,
            config=Config(
                connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"mode": "standard", "max_attempts": 4}
            ),
        )

    def sizes(self) -> Sizes:
        """As AWS says now."""
        found = self._call("describe_auto_scaling_groups", AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        if not found:
            raise refuse(
                "--group",
                self.name,
                "there is no Auto Scaling group of that name",
                reason=_KEEPS,
                next_step="deploy the stack again",
            )
        group = found[0]
        return Sizes(least=group["MinSize"], most=group["MaxSize"], desired=group["DesiredCapacity"])

    def hold(self, nodes: int) -> None:
        """Asks for so many nodes, whatever changed last: an hour is cooldown enough."""
        self._call("set_desired_capacity", AutoScalingGroupName=self.name, DesiredCapacity=nodes, HonorCooldown=False)

    def _call(self, name: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, name)(**arguments)
        except ClientError as error:
            said = error.response["Error"].get("Code", type(error).__name__)
            raise self._refused(name, said) from None
        except BotoCoreError as error:
            raise self._refused(name, type(error).__name__) from None

    def _refused(self, name: str, said: str) -> Refused:
        return refuse(
            "--group",
            self.name,
            f"AWS refused {name} ({said})",
            reason=_KEEPS,
            next_step="let the job's role do that to this group, and reach autoscaling's endpoint",
        )


@dataclass(frozen=True, kw_only=True)
class ModelServers:
    """A pool's Deployment behind a Kubernetes API. `folder` holds the job's token and the API's certificate."""

    url: str
    namespace: str
    name: str
    folder: Path = ACCOUNT_FOLDER

    def count(self) -> int:
        """Replicas that the Deployment asks for."""
        return int(self._scale("GET")["spec"].get("replicas", 0))

    def hold(self, replicas: int) -> None:
        """Asks for so many replicas; those that no node has room for wait for one."""
        self._scale("PATCH", {"spec": {"replicas": replicas}})

    def _scale(self, method: str, body: dict[str, Any] | None = None) -> Any:
        import ssl

        import httpx

        url = f"{self.url.rstrip('/')}/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.name}/scale"
        try:
            context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
            token = (self.folder / "token").read_text(encoding="ascii").strip()
            with httpx.Client(verify=context, timeout=_TIMEOUT_S, trust_env=False) as client:
                answer = client.request(method, url, json=body, headers=self._headers(token))
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise self._refused(f"the Kubernetes API doesn't answer ({type(error).__name__})") from None
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise self._refused(f"the Kubernetes API answered {answer.status_code}")
        return _json(answer) or {"spec": {}}

    @staticmethod
    def _headers(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}

    def _refused(self, what: str) -> Refused:
        return refuse(
            "--deployment",
            f"{self.namespace}/{self.name}",
            what,
            reason="the number of model servers stays as it is",
            next_step="let the job's service account get and patch the scale of this Deployment",
        )


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
