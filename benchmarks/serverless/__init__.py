"""Benchmarks of the serverless half."""
