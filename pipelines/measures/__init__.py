"""Error rates, intervals, risk curves and thresholds, from numbers and texts; no run, no file."""
