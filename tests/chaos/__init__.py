"""Whole runs with small models in a world that goes wrong: `make chaos`."""
