"""The public canopy: forcing in, fluxes out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .fluxes import Fluxes
from .forcing import Forcing
from .parameters import Parameters
from .physics.column import Profiles, Scheme, SiteArrays
from .physics.dispersion import dispersion_matrix
from .physics.leaf_angle import leaf_angle_weights
from .site import Site
from .solver.implicit import Axes, SolverOptions, solve_canopy
from .stress.soil_moisture import STRESSES

CHUNK = 1024
"""Half-hours solved at once by `Canopy.solve`: bounds its memory and lets one compiled program serve any record."""


class Diagnostics(NamedTuple):
    """How the solver fared, per half-hour: `passes`; `residual`, W m-2; `converged`.

    `converged` is False where the residual stayed above the tolerance, or the air of the solution is not physical
    (not finite, or vapour pressure not positive).
    """

    passes: Any
    residual: Any
    converged: Any


class Solution(NamedTuple):
    """Everything about a batch of half-hours. `state`: the unknowns `[time, 5 N + 1]`, a start for `Canopy.compute`."""

    fluxes: Fluxes
    profiles: Profiles
    diagnostics: Diagnostics
    state: Any


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
        stress: None (no stress), the name of a built-in stress function (`"soil_moisture"`) or a function
            `stress(forcing, parameters) -> factor` of one half-hour.
        options: tolerances and limits of the solver.
        smooth_colimitation: quadratic co-limitation of photosynthesis instead of the hard minimum.
    """

    def __init__(
        self,
        site: Site | Sequence[Site],
        parameters: Parameters | None = None,
        stress: str | Callable | None = None,
        *,
        options: SolverOptions = SolverOptions(),
        smooth_colimitation: bool = False,
    ):
        self.sites: tuple[Site, ...] = (site,) if isinstance(site, Site) else tuple(site)
        self.parameters = Parameters() if parameters is None else parameters
        self.options = options
        shapes = {(s.n_layers, s.n_air_layers, s.soil_respiration) for s in self.sites}
        if len(shapes) != 1:
            raise ValueError(
                "sites of one Canopy must share n_layers, n_air_layers and soil_respiration; got "
                + ", ".join(f"{s.name}: {s.n_layers}, {s.n_air_layers}, {s.soil_respiration}" for s in self.sites)
            )
        if isinstance(stress, str):
            if stress not in STRESSES:
                raise ValueError(f"unknown stress '{stress}'; built in: {', '.join(STRESSES)}, or pass a function.")
            stress = STRESSES[stress]
        self.stress = stress
        self.scheme = Scheme(self.sites[0].n_layers, self.sites[0].soil_respiration, smooth_colimitation)
        arrays = [_site_arrays(s) for s in self.sites]
        self.site_arrays: SiteArrays = (
            arrays[0] if len(arrays) == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *arrays)
        )
        self._stress_program = jax.jit(self._own_stress)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_stress_program"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._stress_program = jax.jit(self._own_stress)

    @property
    def site(self) -> Site:
        """The (first) site."""
        return self.sites[0]

    def __call__(self, forcing: Forcing, stress: Any = None) -> Fluxes:
        """Fluxes of all half-hours; warns if some did not converge. See `solve`."""
        return self.solve(forcing, stress).fluxes

    def solve(self, forcing: Forcing, stress: Any = None) -> Solution:
        """Fluxes, profiles and solver diagnostics as NumPy arrays, computed in chunks of `CHUNK` half-hours.

        Canopies that differ in site constants, parameter values and stress only share one compiled program.

        Args:
            forcing: any number of half-hours.
            stress: factor in (0, 1] on the Ball-Berry humidity term, `[time]` or `[time, layer]`; overrides the canopy's.

        Warns:
            NotConvergedWarning: how many half-hours did not converge, and which first.
        """
        forcing, stress = jax.tree.map(np.asarray, (forcing, stress))
        n_rows, dtype = forcing.air_temperature.shape[0], forcing.air_temperature.dtype
        parameters, site = jax.tree.map(lambda x: np.asarray(x, dtype), (self.parameters, self.site_arrays))
        if stress is not None:
            stress = _checked_stress(stress.astype(dtype), n_rows, self.scheme)
        pieces = []
        for first in range(0, n_rows, CHUNK):
            rows = np.arange(first, min(first + CHUNK, n_rows))
            padded = rows if n_rows <= CHUNK else np.resize(rows, CHUNK)

            def take(x, padded=padded):
                return x[padded] if np.ndim(x) and x.shape[0] == n_rows else x

            p, f, factor = jax.tree.map(take, (parameters, forcing, stress))
            factor = np.asarray(self._stress_program(p, f)) if factor is None else factor
            chunk = _solved(self.scheme, self.options, len(self.sites) > 1, site, p, f, factor)
            pieces.append(jax.tree.map(lambda x, kept=len(rows): np.asarray(x[:kept]), chunk))
        solution = jax.tree.map(lambda *x: np.concatenate(x), *pieces) if len(pieces) > 1 else pieces[0]
        report(solution.diagnostics, self.options)
        return solution

    def compute(
        self,
        parameters: Parameters | Mapping[str, Any],
        forcing: Forcing | Mapping[str, Any],
        stress: Any = None,
        *,
        site_arrays: SiteArrays | None = None,
        start: Any = None,
    ) -> Solution:
        """The canopy as a pure function: jit it, differentiate it, put it in your own JAX program. Never warns.

        Args:
            parameters: `Parameters`, or a mapping of those that differ from the canopy's own.
            forcing: `Forcing`, or a mapping of its columns `[time]`.
            stress: as in `solve`.
            site_arrays: site constants to use instead of the canopy's own (`Canopy.site_arrays`). As an argument of your
                program they are no constants in it, so that another site does not compile again.
            start: `Solution.state` of similar conditions, for example of the last epoch: fewer passes to the same tolerance, same
                derivatives. Rows that are not finite start as usual.
        """
        if not isinstance(parameters, Parameters):
            parameters = self.parameters.replace(parameters)
        if not isinstance(forcing, Forcing):
            forcing = Forcing(**forcing)
        dtype = forcing.air_temperature.dtype
        parameters = jax.tree.map(lambda x: jnp.asarray(x, dtype), parameters)
        if stress is None:
            stress = self._own_stress(parameters, forcing)
        stress = _checked_stress(jnp.asarray(stress, dtype), forcing.air_temperature.shape[0], self.scheme)
        site = self.site_arrays if site_arrays is None else site_arrays
        start = None if start is None else jnp.asarray(start, dtype)
        return _solution(self.scheme, self.options, len(self.sites) > 1, site, parameters, forcing, stress, start)

    def _own_stress(self, parameters: Parameters, forcing: Forcing):
        """Factor of the canopy's stress function, `[time]` or `[time, layer]`."""
        if self.stress is None:
            return jnp.ones_like(forcing.air_temperature)
        axes = jax.tree.map(lambda x: 0 if jnp.ndim(x) else None, parameters)
        return jnp.asarray(jax.vmap(self.stress, in_axes=(0, axes))(forcing, parameters), forcing.air_temperature.dtype)


def _checked_stress(stress, n_rows: int, scheme: Scheme):
    if stress.ndim not in (1, 2) or stress.shape[0] != n_rows:
        raise ValueError(
            f"stress must have shape [time] = [{n_rows}] or [time, layer] = [{n_rows}, {scheme.n_layers}]; "
            f"got {list(stress.shape)}."
        )
    return stress


def _solution(
    scheme: Scheme,
    options: SolverOptions,
    several_sites: bool,
    site: SiteArrays,
    parameters: Parameters,
    forcing: Forcing,
    stress: Any,
    start: Any = None,
) -> Solution:
    """The solution as a function of everything that is a number."""
    dtype = forcing.air_temperature.dtype
    site = jax.tree.map(lambda x: jnp.asarray(x, dtype), site)
    if several_sites:
        site = jax.tree.map(lambda x: x[forcing.site], site)
    axes = Axes(
        jax.tree.map(lambda x: 0 if x.ndim else None, parameters),
        jax.tree.map(lambda _: 0 if several_sites else None, site),
    )
    static = (scheme, _Static(axes), options)
    columns = jax.tree.map(lambda y: y if jnp.issubdtype(y.dtype, jnp.floating) else y.astype(dtype), forcing)
    columns = eqx.tree_at(lambda f: f.site, columns, None)
    fluxes, profiles, point = solve_canopy(static, (columns, stress), parameters, site, start)
    physical = jnp.all(jnp.isfinite(profiles.air_temperature), axis=1) & jnp.all(profiles.vapour_pressure > 0, axis=1)
    diagnostics = Diagnostics(point.passes, point.residual, point.converged & physical)
    return Solution(fluxes, profiles, *jax.lax.stop_gradient((diagnostics, point.value)))


_solved = jax.jit(_solution, static_argnums=(0, 1, 2))


class _Static:
    """Hashable wrapper of the vmap axes."""

    def __init__(self, axes: Axes):
        self.parameters, self.site = axes
        self._key = (str(jax.tree.leaves(axes, is_leaf=lambda x: x is None)), jax.tree.structure(axes))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self._key == other._key

    def __repr__(self) -> str:
        return f"_Static{self._key}"


def report(diagnostics: Diagnostics, options: SolverOptions) -> None:
    """Warn if some half-hours did not converge."""
    converged = np.asarray(diagnostics.converged)
    failed = np.flatnonzero(~converged)
    if failed.size:
        residual = np.asarray(diagnostics.residual)
        rows = ", ".join(str(i) for i in failed[:5]) + (", ..." if failed.size > 5 else "")
        warnings.warn(
            f"{failed.size} of {converged.size} half-hours did not converge within {options.max_passes} passes (rows {rows}; "
            f"largest residual {residual[failed].max():.3g} W m-2). Mask them with diagnostics.converged, or raise "
            "SolverOptions.max_passes.",
            NotConvergedWarning,
            stacklevel=3,
        )


def _site_arrays(site: Site) -> SiteArrays:
    return SiteArrays(
        latitude=np.float64(site.latitude),
        longitude=np.float64(site.longitude),
        utc_offset=np.float64(site.utc_offset),
        canopy_height=np.float64(site.canopy_height),
        measurement_height=np.float64(site.measurement_height),
        soil_depth=np.float64(site.soil_depth),
        stomatal_sides=np.float64(2.0 if site.stomata == "amphistomatous" else 1.0),
        lai_scale=np.float64(site.lai_scale),
        leaf_angle_weights=leaf_angle_weights(site.leaf_angle),
        dispersion=np.asarray(dispersion_matrix(site).matrix, dtype=np.float64),
    )
