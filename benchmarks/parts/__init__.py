"""Shared parts of the benchmarks: contestants, worker processes, monitoring, reports."""
