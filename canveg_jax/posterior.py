"""Posterior of process parameters given observed fluxes: Hamiltonian Monte Carlo through the exact derivative of the canopy.

Needs numpyro (`pip install 'canveg-torch[bayes]'`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from .canopy import Canopy
from .fluxes import Fluxes
from .forcing import Forcing
from .parameters import PARAMETER_TABLE
from .spelling import unknown
from .transforms import OPTICAL_PAIRS, check_names, constrain, unconstrain

LARGEST_R_HAT = 1.05
JITTER = 0.3
"""Standard deviation of the chains' starts about the canopy's own values, on the unconstrained scale."""

LARGEST_MISSING_CODE = -6999.0
"""What files write for a missing value, -9999 and -6999, is no flux."""

LogDensity = Callable[[dict[str, jax.Array]], jax.Array]


class PosteriorWarning(UserWarning):
    """The chains do not agree, or steps diverged: the samples may not be those of the posterior."""


def posterior(
    canopy: Canopy,
    forcing: Forcing | Mapping[str, Any],
    observed: Mapping[str, Any],
    sigma: Mapping[str, Any],
    parameters: Sequence[str],
    *,
    priors: Mapping[str, tuple[float, float]] | None = None,
    errors: Literal["gaussian", "laplace"] = "gaussian",
    stress: Any = None,
    chains: int = 4,
    warmup: int = 500,
    samples: int = 500,
    seed: int = 0,
) -> xr.Dataset:
    """Samples of the posterior of process parameters, by the No-U-Turn sampler [Hoffman2014].

    `p(theta | o) ~ p(theta) prod_kt p(o_kt | y_kt(theta), sigma_kt)`: errors of the half-hours `t` and fluxes `k` count as
    independent, which those of towers are not (they last), so intervals of a whole record are too narrow.

    Args:
        canopy: its parameter values are where the chains start, and what is not sampled keeps them.
        forcing: `[time]`.
        observed: by flux name (`LE`, `NEE` ...), `[time]`; NaN where nothing was measured, which has no influence.
        sigma: scale of the errors by flux name, a number or `[time]`, in the unit of the flux: the standard deviation
            (gaussian), or the mean absolute error (laplace).
        parameters: names of those to sample; their priors are uniform within the bounds of `PARAMETER_TABLE`, and for both
            of a pair of reflectance and transmittance uniform where their sum is below 0.999.
        priors: `(mean, standard deviation)` by name: normal instead, within the same bounds.
        errors: `gaussian` or `laplace`.
        stress: as in `Canopy.solve`.
        chains, warmup, samples: number of chains, and of steps of each before and while samples are kept.
        seed: of starts and steps.

    Returns:
        A variable `(chain, draw)` for each parameter, with its unit, `r_hat` (split, of the unconstrained number) and
        `effective_samples` as attributes, and `diverging`.

    Raises:
        ImportError: numpyro is not installed.
        ValueError, UnknownParameterError: a name that does not exist, fluxes without sigma, or nothing measured that the canopy
            can solve at its own values.

    Warns:
        PosteriorWarning: an r_hat above 1.05, or steps that diverged.
    """
    with jax.enable_x64(True):
        names = check_names(parameters)
        density = log_posterior(canopy, forcing, observed, sigma, names, priors=priors, errors=errors, stress=stress)
        start = {name: jnp.asarray(z, float) for name, z in _start(canopy, names).items()}
        if not np.isfinite(float(jax.jit(density)(start))):
            raise ValueError(
                "posterior: the log-density is not finite at the canopy's own parameter values: some measured half-hours cannot "
                "be solved there. Leave them out (NaN in `observed`), or begin elsewhere (Canopy(parameters=...))."
            )
        drawn, diverging = sample(density, start, chains=chains, warmup=warmup, samples=samples, seed=seed)
        fixed = {name: np.asarray(value) for name, value in canopy.parameters.values.items()}
        values = constrain({name: jnp.asarray(z) for name, z in drawn.items()}, fixed)
    variables: dict[str, Any] = {"diverging": (("chain", "draw"), diverging)}
    for name in names:
        info = PARAMETER_TABLE[name]
        r_hat, effective = agreement(drawn[name])
        attrs = {"units": info.unit, "long_name": info.meaning, "r_hat": r_hat, "effective_samples": effective}
        variables[name] = (("chain", "draw"), np.asarray(values[name]), attrs)
    result = xr.Dataset(variables)
    _warn(result, names)
    return result


def log_posterior(
    canopy: Canopy,
    forcing: Forcing | Mapping[str, Any],
    observed: Mapping[str, Any],
    sigma: Mapping[str, Any],
    parameters: Sequence[str],
    *,
    priors: Mapping[str, tuple[float, float]] | None = None,
    errors: Literal["gaussian", "laplace"] = "gaussian",
    stress: Any = None,
) -> LogDensity:
    """The logarithm of the posterior's density, up to a constant, as a function of unconstrained numbers by name (`transforms`).

    Pure and differentiable; minus infinity where a measured half-hour cannot be solved. Arguments and errors as of `posterior`.
    """
    names = check_names(parameters)
    priors = dict(priors or {})
    for name in priors:
        if name not in names:
            raise ValueError(f"posterior: {unknown('sampled parameter', name, names)}")
    if errors not in ("gaussian", "laplace"):
        raise ValueError(f"posterior: errors must be 'gaussian' or 'laplace'; got {errors!r}.")
    for name, prior in priors.items():
        if not np.isfinite(prior).all() or not prior[1] > 0.0:
            raise ValueError(
                f"posterior: the prior of {name} is (mean, standard deviation), the latter positive; got {prior}."
            )
    measured = _measured(observed, sigma, _half_hours(forcing))
    fixed = {name: np.asarray(value) for name, value in canopy.parameters.values.items()}

    def log_density(z: dict[str, jax.Array]) -> jax.Array:
        values = constrain(z, fixed)
        solution = canopy.compute(values, forcing, stress)
        total, solved = _log_prior(z), solution.diagnostics.converged
        for name, (mean, sd) in priors.items():
            total -= 0.5 * ((values[name] - mean) / sd) ** 2
        possible = jnp.asarray(True)
        for flux, (seen, scale, known) in measured.items():
            modelled = getattr(solution.fluxes, flux)
            error = (jnp.where(known & solved, modelled, seen) - seen) / scale
            rho = 0.5 * error**2 if errors == "gaussian" else jnp.abs(error)
            total -= jnp.sum(jnp.where(known, rho, 0.0))
            possible &= jnp.all(solved | ~known)
        return jnp.where(possible, total, -jnp.inf)

    return log_density


def sample(
    log_density: LogDensity,
    start: Mapping[str, Any],
    *,
    chains: int = 4,
    warmup: int = 500,
    samples: int = 500,
    seed: int = 0,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Samples of any log-density of unconstrained numbers, by the No-U-Turn sampler [Hoffman2014].

    Args:
        log_density: of a mapping of arrays; differentiable.
        start: the mapping about which the chains start.
        chains, warmup, samples, seed: as of `posterior`.

    Returns:
        Samples `[chain, draw, ...]` by name, and which steps diverged `[chain, draw]`.

    Raises:
        ImportError: numpyro is not installed.
        ValueError: fewer than 2 chains (agreement cannot be judged), or no steps.
    """
    if chains < 2 or warmup < 1 or samples < 4:
        raise ValueError(
            "posterior: at least 2 chains, 1 step of warm-up and 4 samples are needed; got "
            f"{chains}, {warmup} and {samples}."
        )
    if find_spec("numpyro") is None:
        raise ImportError("posterior: numpyro is needed. Install it: pip install 'canveg-torch[bayes]'")
    from numpyro.infer import MCMC, NUTS

    with jax.enable_x64(True):
        key_of_start, key = jax.random.split(jax.random.key(seed))
        keys = jax.random.split(key_of_start, len(start))
        starts = {
            name: jnp.asarray(z, float) + JITTER * jax.random.normal(k, (chains, *jnp.shape(z)))
            for (name, z), k in zip(start.items(), keys, strict=True)
        }
        sampler = NUTS(potential_fn=lambda z: -log_density(z))
        run = MCMC(
            sampler, num_warmup=warmup, num_samples=samples, num_chains=chains, chain_method="sequential",
            progress_bar=False,
        )  # fmt: skip
        run.run(key, init_params=starts, extra_fields=("diverging",))
        drawn = {name: np.asarray(values) for name, values in run.get_samples(group_by_chain=True).items()}
        return drawn, np.asarray(run.get_extra_fields(group_by_chain=True)["diverging"])


def agreement(drawn: np.ndarray) -> tuple[float, float]:
    """Split R-hat and the effective number of samples of `[chain, draw]` [Gelman1992]."""
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    return float(split_gelman_rubin(drawn)), float(effective_sample_size(drawn))


def _log_prior(z: Mapping[str, jax.Array]) -> jax.Array:
    """Uniform within the bounds, as a density of the unconstrained numbers."""
    total, done = jnp.zeros(()), set()
    for pair in OPTICAL_PAIRS:
        if set(pair) <= set(z):
            total += jnp.sum(jax.nn.log_softmax(jnp.stack([z[pair[0]], z[pair[1]], jnp.zeros(())])))
            done |= set(pair)
    for name in z:
        if name not in done:
            total += jax.nn.log_sigmoid(z[name]) + jax.nn.log_sigmoid(-z[name])
    return total


def _half_hours(forcing: Forcing | Mapping[str, Any]) -> int:
    columns = forcing.values() if isinstance(forcing, Mapping) else vars(forcing).values()
    return max(np.size(column) for column in columns if column is not None)


def _measured(
    observed: Mapping[str, Any], sigma: Mapping[str, Any], half_hours: int
) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
    """Observation, scale of the error, and mask by flux; what is not known stands as 0 with scale 1."""
    if not observed:
        raise ValueError("posterior: `observed` names no flux; give for example {'LE': ..., 'NEE': ...}.")
    result = {}
    for flux, values in observed.items():
        if flux not in Fluxes.__dataclass_fields__:
            raise ValueError(f"posterior: {unknown('flux', flux, list(Fluxes.__dataclass_fields__))}")
        if flux not in sigma:
            raise ValueError(f"posterior: sigma has no entry for {flux}; it has {', '.join(sigma) or 'none'}.")
        seen = np.asarray(values, float)
        given = np.asarray(sigma[flux], float)
        if seen.shape != (half_hours,) or given.shape not in ((), seen.shape):
            raise ValueError(
                f"posterior: the forcing has {half_hours} half-hours, so observed {flux} is [{half_hours}] and its sigma a "
                f"number or [{half_hours}]; got {list(seen.shape)} and {list(given.shape)}."
            )
        scale = np.broadcast_to(given, seen.shape)
        known = np.isfinite(seen)
        if (seen[known] <= LARGEST_MISSING_CODE).any():
            raise ValueError(
                f"posterior: observed {flux} has {seen[known].min():g}, a missing code. Set what was not measured to NaN."
            )
        if not known.any() or not (scale[known] > 0.0).all() or not np.isfinite(scale[known]).all():
            raise ValueError(
                f"posterior: {flux} needs at least one measured half-hour, and a positive sigma for each of them; "
                f"{int(known.sum())} are measured."
            )
        result[flux] = tuple(jnp.asarray(x) for x in (np.where(known, seen, 0.0), np.where(known, scale, 1.0), known))
    return result


def _start(canopy: Canopy, names: Sequence[str]) -> dict[str, np.ndarray]:
    values = {name: np.asarray(value, float) for name, value in canopy.parameters.values.items()}
    chosen = {name: values[name] for name in names}
    if any(value.ndim for value in chosen.values()):
        raise ValueError(
            "posterior: a parameter with a value of each half-hour cannot be sampled; give the canopy numbers."
        )
    return unconstrain(chosen, values)


def _warn(result: xr.Dataset, names: Sequence[str]) -> None:
    apart = {name: result[name].attrs["r_hat"] for name in names if not result[name].attrs["r_hat"] < LARGEST_R_HAT}
    diverged = int(result["diverging"].sum())
    if apart or diverged:
        listed = ", ".join(f"{name} {r_hat:.2f}" for name, r_hat in apart.items())
        said = [f"r_hat above {LARGEST_R_HAT} of {listed}"] if apart else []
        said += [f"{diverged} of {result['diverging'].size} steps diverged"] if diverged else []
        warnings.warn(
            f"posterior: {'; '.join(said)}. Take longer chains (warmup, samples), fewer parameters, or priors.",
            PosteriorWarning,
            stacklevel=3,
        )
