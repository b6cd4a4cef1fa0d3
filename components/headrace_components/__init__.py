"""Pulumi components and the Headrace provider."""
