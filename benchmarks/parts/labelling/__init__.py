"""Contestants of the labelling benchmarks, their race, and how their answers are judged."""
