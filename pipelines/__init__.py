"""Dataflow and storage. No model code."""
