"""Names that models, files and reports share."""

from canveg_jax.solver import acceptance

EQUIVALENT = "_observed_equivalent"
"""`LE_observed_equivalent`: what the tower would observe of the modelled `LE`."""

WITH_RESIDUAL = "_with_residual"
"""`LE_with_residual`: the same plus a network on the residuals; not physics."""

REASON_NAMES = {
    code: name.lower() for name, code in vars(acceptance).items() if isinstance(code, int) and name.isupper()
}
"""Short names of `canveg_jax.REASONS`, for logs: `not_converged`, `forcing` ..."""
