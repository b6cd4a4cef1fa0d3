"""A real Kubernetes control plane on loopback: etcd, API server, controller manager and scheduler as released, with
KWOK for nodes and pods and small stand-ins for what EKS adds (authentication, access policies, node groups)."""
