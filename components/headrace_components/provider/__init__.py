"""The Pulumi plugin `headrace`: resources of the serverless vendors and Headrace's components, in one schema.

It speaks the engine's `ResourceProvider` protocol itself. `pulumi.provider.experimental` drops the old inputs of a diff
and has no way to say that a resource exists but isn't ready; its component half is used as it is (`components.py`).
Nothing here imports a vendor's SDK or a component before a request needs it.
"""
