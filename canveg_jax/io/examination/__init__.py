"""Parts of the examination of a record (`canveg_jax.io.doctor`): clock, costs, doubts, energy balance, standard time."""
