"""What AWS does on its own after a call, and moto doesn't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace_sandbox.aws.wire import Call, Doc
from headrace_sandbox.aws.world import Overlay, World, exists


async def delete_nat_gateway(world: World, call: Call, result: Doc) -> Doc:
    """The gateway's network interface goes with it, and its address is free for the next one."""
    wanted = {"NatGatewayIds": [call.params["NatGatewayId"]]}
    described = await exists(world, "ec2", "DescribeNatGateways", call.region, wanted) or {}
    for gateway in described.get("NatGateways", []):
        for address in gateway.get("NatGatewayAddresses", []):
            if association := address.get("AssociationId"):
                await exists(world, "ec2", "DisassociateAddress", call.region, {"AssociationId": association})
            interface = {"NetworkInterfaceId": address["NetworkInterfaceId"]}
            await exists(world, "ec2", "DeleteNetworkInterface", call.region, interface)
    return result


OVERLAYS: Mapping[tuple[str, str], Sequence[Overlay]] = {("ec2", "DeleteNatGateway"): (delete_nat_gateway,)}
