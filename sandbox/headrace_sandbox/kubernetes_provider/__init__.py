"""Stand-in for the official `pulumi-resource-kubernetes` 4.34.2, written against the real Kubernetes API.

It serves the type tokens and property names of the `pulumi_kubernetes` SDK and talks to whatever API server the
kubeconfig names, so the sandbox's API server, scheduler and controllers do their real work. What differs from the
official plugin is listed in docs/sandbox-kubernetes-provider.md.
"""
