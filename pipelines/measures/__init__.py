"""Numbers only: error rates, intervals, risk curves, thresholds. Knows no run and no file."""
