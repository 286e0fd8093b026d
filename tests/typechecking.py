"""The type checker that jaxtyping's hook puts around every function of `canveg_jax` in `make test-types`."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""beartype; an int is a float, as for pyright."""
