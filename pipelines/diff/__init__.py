"""`nightjar diff`: what changed between two runs, regressions first."""
