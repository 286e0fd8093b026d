"""Names of array types that many modules share."""

import numpy as np
from jaxtyping import Array, Float

Scalar = Float[Array, ""]
"""One floating-point number of one half-hour."""

Column = Float[Array | np.ndarray, "*time"]
"""One number per half-hour, `[time]`; a single number where an equation works on one half-hour."""

Values = Float[Array | np.ndarray, "..."] | float | int
"""Numbers of any shape, where an equation is elementwise: an array of JAX or NumPy, or a Python number."""

Layers = Float[Array | np.ndarray, " layer"]
"""One number per canopy layer, from the ground up."""
