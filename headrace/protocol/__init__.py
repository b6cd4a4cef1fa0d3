"""The engine's plugin protocol, shared by our own provider and the sandbox's: property values and message classes.

Needs protobuf and the generated modules of the `pulumi` distribution (extra `stack`), yet never runs `import pulumi`.
"""
