"""A stand-in for Modal's control plane: its gRPC service as the SDK's own `modal_proto` declares it.

It is not Modal: images are not built and nothing runs. The vendor calls its protocol unsupported, so this stand-in is
only ever driven by the real SDK, whose version the project pins.
"""
