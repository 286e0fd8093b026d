"""Names of the array types of tower data (NumPy)."""

import numpy as np
from jaxtyping import Bool, Float

Series = Float[np.ndarray, "time"]
"""One number per interval, `[time]`; missing is NaN."""

Mask = Bool[np.ndarray, "time"]
"""Yes or no per interval, `[time]`."""

Numbers = Float[np.ndarray, "..."]
"""Numbers of any shape."""
