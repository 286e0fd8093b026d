"""Each module of the physics on its own: published test numbers, brute force, limits, conservation, derivatives."""
