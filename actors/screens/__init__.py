"""Screenshots: what lies on them, where, and what it means."""
