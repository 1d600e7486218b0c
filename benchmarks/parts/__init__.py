"""What the benchmarks share: contestants, workers, watching, and how a report is written."""
