"""What the system costs beside the plain way of doing the same: python -m benchmarks."""
