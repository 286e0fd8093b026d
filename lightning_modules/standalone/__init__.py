"""A trained hybrid as a program that needs jax and numpy alone."""
