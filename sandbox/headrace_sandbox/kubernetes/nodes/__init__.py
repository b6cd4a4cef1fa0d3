"""EC2 behind managed node groups, simulated: Node objects follow the groups of the AWS stand-in.

`records` and the pure modules `plan` (what to do), `manifest` (what a node looks like) and `gpu` (when GPUs are
advertised) decide; `cloud` reads AWS, `controller` acts on the API server.
"""
