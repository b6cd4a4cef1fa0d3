"""The AWS gateway of the sandbox: one endpoint URL that behaves as AWS (a stand-in, never AWS itself).

Requests are parsed and checked with botocore's own service models, then answered by a local moto server or, where moto
has no support, by a recorded store of our own.
"""
