"""Truth files, the row that each of them belongs to, and a run beside its truth."""
