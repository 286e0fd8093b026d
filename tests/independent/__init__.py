"""A second, slow solution of the canopy in plain NumPy, written from the equations; it shares nothing with the package.

Dense linear solves, bisection and many small damped steps; no acceleration, no derivative, no import from `canveg_jax`.
`column.solve_half_hour` solves one half-hour, `cases.CASES` is a fixed set of ten, `cases.solutions()` solves them all.
"""
