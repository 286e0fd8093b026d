"""Lightning modules and benchmarks."""
