"""The public canopy: forcing in, fluxes out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .fluxes import Fluxes
from .forcing import Forcing, ForcingError
from .parameters import Parameters
from .physics.conductance import CONDUCTANCES
from .physics.dispersion import dispersion_matrix
from .physics.leaf_angle import leaf_angle_weights
from .physics.leaf_exchange import leaf_environment
from .physics.state import Profiles, Scheme, SiteArrays
from .site import Site
from .solver.acceptance import (
    FACTOR,
    NOT_CONVERGED,
    NOT_PHYSICAL,
    REASONS,
    SITE,
    SOLVED,
    reason_not_to_solve,
    rows_to_solve,
    with_stand_ins,
)
from .solver.batches import map_rows, number_of_rows, on_rows, record_chunk
from .solver.implicit import Inputs, Solved, solve_canopy
from .solver.options import Axes, SolverOptions, Static
from .spelling import unknown
from .stress import STRESSES, AbstractStress, LoopClosure, NoStress, StressFunction


class Diagnostics(NamedTuple):
    """How the solver ended, per half-hour: `passes`; `residual`, W m-2; `converged`; `reason`, a key of `REASONS`.

    `converged` is False where the residual stayed above the tolerance, or the air of the solution is not physical
    (not finite, or vapour pressure not positive).
    """

    passes: Int[Array, " time"]
    residual: Float[Array, " time"]
    converged: Bool[Array, " time"]
    reason: Int[Array, " time"]


class Solution(NamedTuple):
    """Everything about a batch of half-hours. `state`: the unknowns `[time, 5 N + 1]`, a start for `Canopy.compute`;
    `in_loop_factor`: mean over the leaf area of the factor of a scheme in the loop, None without one. Both without derivative."""

    fluxes: Fluxes
    profiles: Profiles
    diagnostics: Diagnostics
    state: Float[Array, "time unknown"]
    in_loop_factor: Float[Array, " time"] | None = None


class NotConvergedWarning(UserWarning):
    """Some half-hours of a solution did not reach the tolerance; they are flagged in its diagnostics."""


class Canopy:
    """A canopy at one site, or at several sites with the same numbers of layers.

    Example:
        >>> canopy = Canopy(Site.named("US-Bi1", n_layers=1))
        >>> fluxes = canopy(forcing)        # arrays [time]: fluxes.LE, fluxes.H, fluxes.NEE ...

    Args:
        site: a `Site`, or a sequence of them; then `forcing.site` says which half-hour belongs to which.
        parameters: `Parameters`; a value of shape `[time]` gives each half-hour its own.
        stress: None (no stress), the name of a scheme (`STRESSES`, for example `"soil_moisture"`), an `AbstractStress`, or a
            function `stress(forcing, parameters) -> factor` of one half-hour.
        options: tolerances and limits of the solver.
        smooth_colimitation: quadratic co-limitation of photosynthesis instead of the hard minimum.
        conductance: equation of the stomata, `"ball_berry"`, `"medlyn"` or `"leuning"`.

    Raises:
        ValueError: an unknown scheme, or sites that do not fit together.
    """

    def __init__(
        self,
        site: Site | Sequence[Site],
        parameters: Parameters | None = None,
        stress: str | AbstractStress | Callable | None = None,
        *,
        options: SolverOptions = SolverOptions(),
        smooth_colimitation: bool = False,
        conductance: str = "ball_berry",
    ):
        self.sites: tuple[Site, ...] = (site,) if isinstance(site, Site) else tuple(site)
        self.parameters = Parameters() if parameters is None else parameters
        self.options = options
        if len({s.form for s in self.sites}) != 1:
            raise ValueError(
                "sites of one Canopy must share n_layers, n_air_layers, soil_respiration and soil_heat; got "
                + ", ".join(f"{s.name}: {s.form}" for s in self.sites)
                + ". Make one Canopy for each form; bridges.TorchCanopies trains them together."
            )
        self.stress: AbstractStress = as_stress(stress)
        if conductance not in CONDUCTANCES:
            raise ValueError(unknown("conductance", conductance, CONDUCTANCES))
        self.scheme = Scheme(
            n_layers=self.sites[0].n_layers,
            soil_respiration=self.sites[0].soil_respiration,
            smooth_colimitation=smooth_colimitation,
            conductance=conductance,
            soil_heat=self.sites[0].soil_heat,
        )
        arrays = [_site_arrays(s) for s in self.sites]
        self.site_arrays: SiteArrays = (
            arrays[0] if len(arrays) == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *arrays)
        )

    @property
    def site(self) -> Site:
        """The (first) site."""
        return self.sites[0]

    def __call__(self, forcing: Forcing, stress: Any = None) -> Fluxes:
        """Fluxes of all half-hours; warns if some did not converge. See `solve`."""
        return self.solve(forcing, stress).fluxes

    def solve(self, forcing: Forcing, stress: Any = None, *, in_loop: AbstractStress | None = None) -> Solution:
        """Fluxes, profiles and solver diagnostics as NumPy arrays, computed a chunk of the record at a time.

        Canopies that differ in site constants, parameter values and stress only share one compiled program.

        Args:
            forcing: any number of half-hours.
            stress: factor in (0, 1] on the humidity term of stomatal conductance, `[time]` or `[time, layer]`, or a scheme;
                overrides the canopy's.
            in_loop: as in `compute`.

        Warns:
            NotConvergedWarning: how many half-hours did not converge, and which first.
        """
        static, inputs, site_index = self._inputs(self.parameters, forcing, stress, in_loop, None)
        n_rows, chunk = number_of_rows(inputs), record_chunk()
        pieces = []
        for first in range(0, max(n_rows, 1), chunk):
            rows = np.arange(first, min(first + chunk, n_rows))
            # All chunks of a long record have one size, so that one program serves them.
            part = inputs, site_index
            if n_rows > chunk:
                part = _take_rows(static.axes, *part, np.resize(rows, chunk))
            piece = jax.device_get(_compiled_solution(static, *part))
            pieces.append(jax.tree.map(lambda y, kept=len(rows): y[:kept], piece))
        solution = jax.tree.map(lambda *y: np.concatenate(y), *pieces) if len(pieces) > 1 else pieces[0]
        warn_not_converged(solution.diagnostics, self.options)
        return solution

    def compute(
        self,
        parameters: Parameters | Mapping[str, Any],
        forcing: Forcing | Mapping[str, Any],
        stress: Any = None,
        *,
        in_loop: AbstractStress | None = None,
        site_arrays: SiteArrays | None = None,
        start: Any = None,
    ) -> Solution:
        """The canopy as a pure function: jit it, differentiate it, put it in your own JAX program. Never warns.

        Args:
            parameters: `Parameters`, or a mapping of those that differ from the canopy's own.
            forcing: `Forcing`, or a mapping of its columns `[time]`.
            stress: as in `solve`. A scheme may have arrays, such as the weights of a network; the solution has exact
                derivatives to them, also where the scheme is evaluated in the loop.
            in_loop: a scheme that is evaluated in the loop, besides the one of `stress`; their factors are multiplied.
            site_arrays: site constants to use instead of the canopy's own (`Canopy.site_arrays`). As an argument of your
                program they are no constants in it, so that another site does not compile again.
            start: `Solution.state` of similar conditions, for example of the last epoch: fewer passes to the same tolerance, same
                derivatives. Rows that are not finite start as usual.
        """
        if not isinstance(parameters, Parameters):
            parameters = self.parameters.replace(parameters)
        if not isinstance(forcing, Forcing):
            forcing = Forcing(**forcing)
        start = None if start is None else jnp.asarray(start, forcing.air_temperature.dtype)
        return _solution(*self._inputs(parameters, forcing, stress, in_loop, site_arrays), start)

    def _inputs(
        self,
        parameters: Parameters,
        forcing: Forcing,
        stress: Any,
        in_loop: AbstractStress | None,
        site: SiteArrays | None,
    ) -> tuple[Static, Inputs, Any]:
        """What is compiled in; everything that is a number, in the precision of the forcing; with several sites, the site of
        each row (else None). The arrays of several sites are not yet spread over the rows."""
        dtype = forcing.air_temperature.dtype
        in_precision = partial(jax.tree.map, lambda x: jnp.asarray(x, dtype))
        parameters, arrays = in_precision((parameters, self.site_arrays if site is None else site))
        if forcing.air_temperature.ndim != 1:
            raise ForcingError(
                f"forcing: expected columns [time]; 'air_temperature' has shape {list(forcing.air_temperature.shape)}."
            )
        stress = self.stress if stress is None else stress
        if isinstance(stress, AbstractStress) and stress.in_loop:
            if in_loop is not None:
                raise ValueError("`stress` and `in_loop` are both evaluated in the loop; give one of them.")
            in_loop, stress = stress, jnp.ones_like(forcing.air_temperature)
        elif isinstance(stress, AbstractStress):
            stress = _stress_before_the_loop(stress, parameters, forcing)
        stress = _checked_stress(jnp.asarray(stress, dtype), forcing.air_temperature.shape[0], self.scheme)
        closure = None if in_loop is None else self._closure(in_loop, forcing.air_temperature)
        columns = in_precision(eqx.tree_at(lambda f: f.site, forcing, None))
        inputs = Inputs(forcing=columns, stress=stress, parameters=parameters, site=arrays, closure=closure)
        several_sites = len(self.sites) > 1
        axes = Axes.of(parameters, arrays, closure, site_by_row=several_sites)
        static = Static(scheme=self.scheme, axes=axes, options=self.options)
        return static, inputs, forcing.site if several_sites else None

    def _closure(self, scheme: AbstractStress, air_temperature: Any) -> LoopClosure:
        """The scheme as the solver takes it.

        Raises:
            ValueError: it is no scheme in the loop, replaces a humidity that the conductance does not have, or an array of
                its fields `by_row` does not have the half-hours in front.
        """
        if scheme.replaces_humidity and self.scheme.conductance != "ball_berry":
            raise ValueError(
                f"{type(scheme).__name__} stands in place of the relative humidity, which {self.scheme.conductance} does not "
                "have; use conductance='ball_berry', or a scheme that multiplies."
            )
        closure = LoopClosure.of(scheme, air_temperature.dtype)
        n_rows = air_temperature.shape[0]
        for differs, array in zip(closure.by_row(), jax.tree.leaves(closure), strict=True):
            if differs and array.shape[:1] != (n_rows,):
                raise ValueError(
                    f"{type(scheme).__name__}: arrays of {', '.join(scheme.by_row)} must have one row per half-hour, "
                    f"[{n_rows}, ...]; got {list(array.shape)}."
                )
        return closure


def as_stress(stress: str | AbstractStress | Callable | None) -> AbstractStress:
    """The scheme that a name, a function or None (no stress) means.

    Raises:
        ValueError: no scheme has this name.
    """
    if stress is None:
        return NoStress()
    if isinstance(stress, AbstractStress):
        return stress
    if callable(stress):
        return StressFunction(stress)
    if stress not in STRESSES:
        raise ValueError(f"{unknown('stress', stress, STRESSES)} Or pass a scheme or a function.")
    return STRESSES[stress]()


@eqx.filter_jit
def _stress_before_the_loop(scheme: AbstractStress, parameters: Parameters, forcing: Forcing) -> Any:
    """Factor of a scheme that does not need the state of the leaves, `[time]` or `[time, layer]`.

    The scheme never sees a row that will not be solved: its derivative there might not be a number.
    """
    axes, site = Axes.of(parameters, None, None, site_by_row=False), forcing.site
    columns, no_stress = eqx.tree_at(lambda f: f.site, forcing, None), jnp.ones_like(forcing.air_temperature)
    usable = rows_to_solve(axes, columns, no_stress, parameters)
    calm, _, parameters = with_stand_ins(axes, usable, columns, no_stress, parameters)
    calm = eqx.tree_at(lambda f: f.site, calm, site, is_leaf=lambda x: x is None)
    in_axes = jax.tree.map(lambda x: 0 if x.ndim else None, parameters)
    factor = jax.vmap(lambda forcing, p: scheme(forcing, None, p), in_axes=(0, in_axes))(calm, parameters)
    return jnp.asarray(factor, forcing.air_temperature.dtype)


@partial(jax.jit, static_argnums=0)
def _take_rows(axes: Axes, inputs: Inputs, site_index: Any, rows: Any) -> tuple[Inputs, Any]:
    shared_sites = axes._replace(site=tuple(False for _ in axes.site))
    return on_rows(shared_sites, lambda leaf: leaf[rows], inputs), None if site_index is None else site_index[rows]


def _checked_stress(stress: Any, n_rows: int, scheme: Scheme) -> Any:
    if stress.shape not in ((n_rows,), (n_rows, scheme.n_layers)):
        raise ValueError(
            f"stress must have shape [time] = [{n_rows}] or [time, layer] = [{n_rows}, {scheme.n_layers}]; "
            f"got {list(stress.shape)}."
        )
    return stress


def _solution(static: Static, inputs: Inputs, site_index: Any = None, start: Any = None) -> Solution:
    """The solution as a function of everything that is a number."""
    known: Any = True
    if site_index is not None:
        known = (site_index >= 0) & (site_index < jax.tree.leaves(inputs.site)[0].shape[0])
        inputs = inputs._replace(site=jax.tree.map(lambda x: x[site_index], inputs.site))
    if number_of_rows(inputs) == 0:
        one = on_rows(static.axes, lambda x: jnp.zeros((1, *x.shape[1:]), x.dtype), inputs)
        return jax.tree.map(lambda y: y[:0], _solution(static, one))
    checked = static.axes, inputs.forcing, inputs.stress, inputs.parameters, inputs.closure
    fluxes, profiles, solver = cast(Solved, solve_canopy(static, inputs, rows_to_solve(*checked) & known, start))
    reason = jnp.where(known, reason_not_to_solve(*checked), SITE)
    physical = jnp.all(jnp.isfinite(profiles.air_temperature), axis=1) & jnp.all(profiles.vapour_pressure > 0, axis=1)
    reason = jnp.where(reason != SOLVED, reason, jnp.where(solver.converged, SOLVED, NOT_CONVERGED))
    reason = jnp.where((reason == SOLVED) & ~physical, NOT_PHYSICAL, reason)
    factor = None
    if inputs.closure is not None:
        factor, positive = _factor_in_loop(static, *jax.lax.stop_gradient((inputs, profiles)))
        reason = jnp.where((reason == SOLVED) & ~positive, FACTOR, reason)
    diagnostics = Diagnostics(passes=solver.passes, residual=solver.residual, converged=reason == SOLVED, reason=reason)
    diagnostics, state = jax.lax.stop_gradient((diagnostics, solver.value))
    return Solution(fluxes=fluxes, profiles=profiles, diagnostics=diagnostics, state=state, in_loop_factor=factor)


def _factor_in_loop(static: Static, inputs: Inputs, solved: Profiles) -> tuple[Any, Any]:
    """Of the solved leaves: mean factor of the half-hour, and whether all factors are positive."""

    def of_one(row: Inputs, solved: Profiles) -> tuple[Any, Any]:
        n, closure = static.scheme.n_layers, cast(LoopClosure, row.closure)
        leaves = leaf_environment(
            solved.leaf_temperature, solved.vapour_pressure[:n], solved.co2[:n], solved.absorbed_par
        )
        factor = jnp.broadcast_to(closure(row.forcing, leaves, row.parameters), solved.leaf_temperature.shape)
        mean = jnp.mean(solved.sunlit * factor[0] + (1.0 - solved.sunlit) * factor[1])
        return mean, jnp.all(factor > 0.0)

    return map_rows(static.axes, of_one, inputs, solved)


_compiled_solution = jax.jit(_solution, static_argnums=0)


def warn_not_converged(diagnostics: Diagnostics, options: SolverOptions) -> None:
    """Warn if some half-hours have no solution: how many, which first, and why."""
    reason = np.asarray(diagnostics.reason)
    for code in np.unique(reason[reason != SOLVED]):
        failed = np.flatnonzero(reason == code)
        rows = ", ".join(str(i) for i in failed[:5]) + (", ..." if failed.size > 5 else "")
        if code in (NOT_CONVERGED, NOT_PHYSICAL):
            residual = np.asarray(diagnostics.residual)[failed].max()
            text = (
                f"{failed.size} of {reason.size} half-hours did not converge within {options.max_passes} passes (rows "
                f"{rows}; largest residual {residual:.3g} W m-2). Mask them with diagnostics.converged, or raise "
                "SolverOptions.max_passes."
            )
        elif code == FACTOR:
            text = (
                f"{failed.size} of {reason.size} half-hours have no valid solution (rows {rows}): {REASONS[int(code)]}. "
                "Mask them with diagnostics.converged, and let the scheme give positive numbers."
            )
        else:
            text = (
                f"{failed.size} of {reason.size} half-hours were not solved (rows {rows}): {REASONS[int(code)]}. Their "
                "fluxes are NaN. Mend or drop these rows, or mask them with diagnostics.converged."
            )
        warnings.warn(text, NotConvergedWarning, stacklevel=3)


def _site_arrays(site: Site) -> SiteArrays:
    return SiteArrays(
        latitude=_constant(site.latitude),
        longitude=_constant(site.longitude),
        utc_offset=_constant(site.utc_offset),
        canopy_height=_constant(site.canopy_height),
        measurement_height=_constant(site.measurement_height),
        soil_depth=_constant(site.soil_depth),
        stomatal_sides=_constant(2.0 if site.stomata == "amphistomatous" else 1.0),
        lai_scale=_constant(site.lai_scale),
        leaf_angle_weights=cast(Any, leaf_angle_weights(site.leaf_angle)),
        dispersion=cast(Any, np.asarray(dispersion_matrix(site).matrix, dtype=np.float64)),
    )


def _constant(value: float) -> Any:
    return np.array(value, np.float64)
