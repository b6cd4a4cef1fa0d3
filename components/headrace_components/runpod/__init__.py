"""RunPod: its REST API v2 as Pulumi resources."""
