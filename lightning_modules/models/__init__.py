"""Lightning modules (hybrid canopy, pure network), the benchmarks they have to beat, loss, and tuned parameters."""
