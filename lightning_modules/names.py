"""Names that models, files and reports share."""

EQUIVALENT = "_observed_equivalent"
"""`LE_observed_equivalent`: what the tower would observe of the modelled `LE`."""

WITH_RESIDUAL = "_with_residual"
"""`LE_with_residual`: the same plus a network on the residuals; not physics."""
