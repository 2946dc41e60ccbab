"""Benchmarks against the tools that people use today: `python -m bench`."""
