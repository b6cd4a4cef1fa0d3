"""A stand-in for RunPod: REST API v2 and the job plane, checked against the vendor's own published request schemas.

It is not RunPod: nothing is placed on a GPU, jobs answer at once, and whatever the vendor does beyond its
documentation is not here."""
