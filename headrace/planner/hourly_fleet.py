"""What a decision is carried out on: the Auto Scaling group of a pool's nodes.

It is set as Cluster Autoscaler and a scheduled action do it (`SetDesiredCapacity`). Starting and draining nodes is
EKS's; the pool's model servers follow its nodes by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from headrace.errors import Refused, refuse

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
