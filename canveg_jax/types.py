"""Names of array types that many modules share.

At run time they say what is accepted: equations take arrays of JAX or NumPy and Python numbers. A static checker sees arrays of
JAX, which all of these become.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Array, Float

if TYPE_CHECKING:
    Scalar: TypeAlias = Array
    Constant: TypeAlias = Array
    Column: TypeAlias = Array
    Values: TypeAlias = Array
    Layers: TypeAlias = Array
else:
    Scalar = Float[Array, ""]
    Constant = Float[Array | np.ndarray, ""]
    Column = Float[Array | np.ndarray, "*time"]
    Values = Float[Array | np.ndarray, "..."] | float | int
    Layers = Float[Array | np.ndarray, " layer"]
"""`Scalar`: one floating-point number of one half-hour. `Constant`: a number of a site. `Column`: one number per half-hour,
`[time]`; a single number where an equation works on one half-hour. `Values`: numbers of any shape, where an equation is
elementwise.
`Layers`: one number per canopy layer, from the ground up."""
