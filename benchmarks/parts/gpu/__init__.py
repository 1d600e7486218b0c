"""Parts of `benchmarks/gpu.py`: checkpoints, pictures, contestants, meters, and the wheels."""
