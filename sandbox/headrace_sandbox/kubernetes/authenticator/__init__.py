"""Authentication and access policies as on EKS: a stand-in for the part of EKS that has no source of its own.

`token` reads a bearer token, `access` maps a caller to an access entry, `policies` decides what an access policy
allows; all three are pure. `server` is the webhook that the API server calls.
"""
