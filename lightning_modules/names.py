"""Names that models, files and reports share."""

EQUIVALENT = "_observed_equivalent"
"""`LE_observed_equivalent`: what the tower would observe of the modelled `LE`."""
