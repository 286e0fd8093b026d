"""What every stomatal stress scheme is: a factor in (0, 1] on the humidity dependence of stomatal conductance."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..forcing import FORCING_TABLE, Forcing
from ..parameters import PARAMETER_TABLE, Parameters
from ..physics.state import LeafEnvironment
from ..transforms import constrain, unconstrain

LOWEST_FACTOR = 1e-3
"""Schemes whose formula reaches zero stop here: the factor multiplies a conductance that must stay positive."""


class AbstractStress(eqx.Module):
    """A stress scheme: a pytree whose arrays, if it has any, are differentiable, and which is called for ONE half-hour.

    A scheme with `in_loop = False` is evaluated once, before the canopy is solved, and returns a factor of the half-hour or
    of its layers. A scheme with `in_loop = True` is evaluated for every leaf class and layer at every pass of the solver,
    with the state of the leaf; it must be elementwise in the fields of `leaf`, because leaves do not feel each other.

    Class attributes:
        in_loop: when the scheme is evaluated, see above.
        by_row: fields of a scheme in the loop whose arrays have the half-hours in front, for example what a network reads
            besides the leaf; a call sees those of its half-hour.
        replaces_humidity: the factor of a scheme in the loop stands in place of the relative humidity in the Ball-Berry
            equation instead of multiplying it, as in [Jiang2025].
        reads: the parameters that belong to the scheme (names of `PARAMETER_TABLE`); `TrainableStress` trains them.
        references: keys of `docs/references.bib`.
    """

    in_loop: ClassVar[bool] = False
    by_row: ClassVar[tuple[str, ...]] = ()
    replaces_humidity: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def __call__(
        self, forcing: Forcing, leaf: LeafEnvironment | None, parameters: Parameters
    ) -> Float[Array, ""] | Float[Array, " layer"] | Float[Array, "2 layer"]:
        """The factor, 0-d, `[layer]`, or for a scheme in the loop `[2, layer]` (sunlit, shaded).

        Args:
            forcing: of one half-hour, 0-d arrays.
            leaf: state of the leaves, `[2, layer]`; None for a scheme that is not in the loop.
            parameters: of the half-hour, 0-d arrays.
        """

    def to_values(self, raw: Float[Array, " parameter"]) -> dict[str, Float[Array, ""]]:
        """Values of the parameters in `reads` from unconstrained numbers: a sigmoid between their bounds."""
        return constrain({name: raw[i] for i, name in enumerate(self.reads)}, {})

    def to_raw(self, values: Mapping[str, float]) -> Float[np.ndarray, " parameter"]:
        """Unconstrained numbers of parameter values; inverse of `to_values`.

        Raises:
            ValueError: a value is not inside its bounds.
        """
        raw = unconstrain({name: values[name] for name in self.reads}, {})
        return np.array([raw[name] for name in self.reads])


class NoStress(AbstractStress):
    """The factor 1 everywhere."""

    in_loop: ClassVar[bool] = False

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment | None, parameters: Parameters) -> Float[Array, ""]:
        del leaf, parameters
        return jnp.ones_like(forcing.air_temperature)


class StressFunction(AbstractStress):
    """A user's function `stress(forcing, parameters) -> factor` of one half-hour as a scheme."""

    in_loop: ClassVar[bool] = False
    function: Callable[[Forcing, Parameters], Any] = eqx.field(static=True)

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment | None, parameters: Parameters) -> Float[Array, ...]:
        del leaf
        return jnp.asarray(self.function(forcing, parameters))


class LoopClosure(eqx.Module):
    """A scheme in the loop, divided into its arrays, which have derivatives, and everything else, which is compiled in."""

    arrays: Any
    rest: AbstractStress = eqx.field(static=True)

    @classmethod
    def of(cls, scheme: AbstractStress, dtype: Any) -> LoopClosure:
        """The closure of a scheme, its arrays in the precision of the computation.

        Raises:
            ValueError: the scheme is not evaluated in the loop.
        """
        if not scheme.in_loop:
            raise ValueError(f"{type(scheme).__name__} is not evaluated in the loop; pass it as `stress`.")
        arrays, rest = eqx.partition(scheme, eqx.is_inexact_array)
        return cls(arrays=jax.tree.map(lambda a: a.astype(dtype), arrays), rest=rest)

    @property
    def replaces_humidity(self) -> bool:
        """Whether the factor stands in place of the relative humidity."""
        return self.rest.replaces_humidity

    def by_row(self) -> tuple[bool, ...]:
        """For each array, in the order of the leaves: whether it has the half-hours in front."""
        leaves = jax.tree_util.tree_leaves_with_path(self.arrays)
        return tuple(getattr(path[0], "name", None) in self.rest.by_row for path, _ in leaves)

    def __call__(self, forcing: Forcing, leaf: LeafEnvironment, parameters: Parameters) -> Float[Array, ...]:
        """The factor of each leaf."""
        return eqx.combine(self.arrays, self.rest)(forcing, leaf, parameters)


class TrainableStress(eqx.Module):
    """A scheme with values of its own for the parameters it reads, kept as unconstrained numbers: the form to train.

    `bridges.JaxModule(TrainableStress(SoilMoisture()))` is the scheme as a PyTorch module with one parameter, `raw`.

    Args:
        scheme: evaluated outside the loop.
        values: start values by name; defaults of `PARAMETER_TABLE` for those not named.

    Raises:
        ValueError: the scheme is evaluated in the loop or has no parameters, a name is not one of `scheme.reads`, or a value
            is not inside its bounds.
    """

    scheme: AbstractStress
    raw: Float[Array, " parameter"]

    def __init__(self, scheme: AbstractStress, values: Mapping[str, float] | None = None):
        values = dict(values or {})
        name = type(scheme).__name__
        if scheme.in_loop or not scheme.reads:
            raise ValueError(f"{name} has no parameters that can be trained outside the loop.")
        if foreign := sorted(set(values) - set(scheme.reads)):
            raise ValueError(f"{name} reads {', '.join(scheme.reads)}; got a value of {', '.join(foreign)}.")
        start = {n: float(values.get(n, PARAMETER_TABLE[n].default)) for n in scheme.reads}
        self.scheme = scheme
        with jax.enable_x64(True):
            self.raw = jnp.asarray(scheme.to_raw(start), jnp.float64)

    def values(self) -> dict[str, Float[Array, ""]]:
        """The parameters of the scheme in their units."""
        return self.scheme.to_values(self.raw)

    def __call__(self, forcing: Mapping[str, Float[Array, " time"]]) -> Float[Array, " time"]:
        """Factor of each half-hour from columns of the forcing; those that the scheme does not read may be missing."""
        columns = {name: jnp.asarray(column) for name, column in forcing.items() if name in FORCING_TABLE}
        like = next(iter(columns.values()))
        missing = {name: jnp.full_like(like, jnp.nan) for name in FORCING_TABLE if name not in columns}
        parameters = Parameters().replace({name: value.astype(like.dtype) for name, value in self.values().items()})
        return jax.vmap(lambda row: self.scheme(row, None, parameters))(Forcing(**columns, **missing))
