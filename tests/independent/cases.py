"""Ten synthetic half-hours that span the conditions of a tower, and a synthetic dispersion matrix for each."""

import math

import numpy as np

from tests.independent.column import solve_half_hour

NAN = math.nan


def dispersion_matrix(height: float, measurement_height: float, n_layers: int, n_air_layers: int) -> np.ndarray:
    """A smooth matrix `[n_air_layers + n_layers, n_layers]` of realistic size, s m-1 at unit friction velocity.

    Far field: the resistance `integral dz / (sigma_w^2 T_L)` from the higher of source and receptor up to the
    measurement height. Near field: a bump around the source. The last row is zero.
    """
    d = 0.6 * height

    def inverse_diffusivity(z: float) -> float:
        sigma = 1.25 * (0.25 + 0.75 * min(z / height, 1.0))
        timescale = max(0.25 * height, 0.4 * (z - d) / 1.5625)
        return 1.0 / (sigma**2 * timescale)

    def resistance(z_low: float) -> float:
        steps = 400
        dz = (measurement_height - z_low) / steps
        return sum(inverse_diffusivity(z_low + (i + 0.5) * dz) * dz for i in range(steps))

    canopy = [(j + 1) * height / n_layers for j in range(n_layers)]
    above = [height + (k + 1) * (measurement_height - height) / n_air_layers for k in range(n_air_layers)]
    levels = canopy + above
    far = [resistance(z) for z in levels]
    matrix = np.zeros((len(levels), n_layers))
    for i, receptor in enumerate(levels[:-1]):
        for j, source in enumerate(canopy):
            sigma = 1.25 * (0.25 + 0.75 * source / height)
            bump = math.exp(-(((receptor - source) / (0.08 * height)) ** 2)) / sigma
            matrix[i, j] = far[max(i, j)] + bump
    return matrix


ALFALFA = {
    "latitude": 38.1, "longitude": -121.5, "utc_offset": -8, "canopy_height": 0.8, "measurement_height": 5.0,
    "stomata": "hypostomatous", "leaf_angle": "erectophile", "n_layers": 50, "n_air_layers": 50, "soil_depth": 0.15,
    "soil_respiration": "q10",
}  # fmt: skip
FOREST = ALFALFA | {"latitude": 44.45, "longitude": -121.56, "canopy_height": 18.0, "measurement_height": 34.0}
SHRUB = ALFALFA | {
    "latitude": 31.74, "longitude": -110.05, "utc_offset": -7, "canopy_height": 1.0, "measurement_height": 6.5,
    "stomata": "amphistomatous", "leaf_angle": "extremophile",
}  # fmt: skip
SOUTH = ALFALFA | {"latitude": -35.3, "longitude": 149.1, "utc_offset": 10}

WEATHER = {
    "day_of_year": 193.0, "hour": 12.25, "air_temperature": 24.0, "shortwave_in": 780.0, "vapour_pressure": 1.3,
    "wind_speed": 3.2, "co2": 405.0, "pressure": 101.1, "friction_velocity": 0.36, "soil_temperature": 20.0,
    "soil_water_content": 0.22, "lai": 3.0, "longwave_in": NAN, "observed_canopy_height": NAN,
    "soil_temperature_tendency": NAN,
}  # fmt: skip


def _case(site: dict, weather: dict, parameters: dict | None = None, stress: float = 1.0) -> dict:
    return {"site": site, "forcing": WEATHER | weather, "parameters": parameters or {}, "stress": stress}


CASES: dict[str, dict] = {
    "day": _case(ALFALFA, {}),
    "night": _case(
        SHRUB | {"leaf_angle": "spherical", "n_layers": 1},
        {"hour": 23.25, "air_temperature": 17.0, "shortwave_in": 0.0, "wind_speed": 4.0, "friction_velocity": 0.42,
         "co2": 421.0, "pressure": 86.4, "lai": 1.4},
    ),
    "stable": _case(
        ALFALFA | {"leaf_angle": "uniform"},
        {"day_of_year": 260.0, "hour": 3.75, "air_temperature": 11.0, "shortwave_in": 0.0, "vapour_pressure": 1.05,
         "wind_speed": 0.6, "friction_velocity": 0.13, "co2": 440.0, "soil_temperature": 17.0, "lai": 2.2},
    ),
    "unstable": _case(
        SHRUB,
        {"day_of_year": 150.53125, "hour": 12.75, "air_temperature": 31.0, "shortwave_in": 1010.0,
         "vapour_pressure": 0.9, "wind_speed": 1.4, "friction_velocity": 0.17, "pressure": 86.2,
         "soil_temperature": 27.0, "soil_water_content": 0.06, "lai": 0.3},
    ),
    "dawn": _case(
        ALFALFA | {"leaf_angle": "planophile", "n_layers": 1, "n_air_layers": 20},
        {"hour": 5.25, "air_temperature": 12.5, "shortwave_in": 24.0, "vapour_pressure": 1.2, "wind_speed": 1.9,
         "friction_velocity": 0.16, "co2": 428.0, "soil_temperature": 16.5, "lai": 4.1},
    ),
    "dusk": _case(
        SHRUB | {"leaf_angle": "plagiophile", "stomata": "amphistomatous"},
        {"hour": 19.75, "air_temperature": 21.5, "shortwave_in": 5.0, "vapour_pressure": 1.1, "wind_speed": 2.4,
         "friction_velocity": 0.24, "pressure": 86.3, "soil_temperature": 24.0, "lai": 0.9, "longwave_in": 341.5},
    ),
    "freezing": _case(
        FOREST,
        {"day_of_year": 18.0, "hour": 10.25, "air_temperature": -9.0, "shortwave_in": 190.0, "vapour_pressure": 0.21,
         "wind_speed": 2.6, "friction_velocity": 0.45, "pressure": 85.1, "soil_temperature": 0.4,
         "soil_water_content": 0.3, "lai": 2.5},
    ),
    "hot dry": _case(
        SHRUB | {"leaf_angle": "erectophile", "soil_depth": 0.1},
        {"day_of_year": 178.0, "hour": 14.25, "air_temperature": 41.0, "shortwave_in": 880.0, "vapour_pressure": 0.5,
         "wind_speed": 4.5, "friction_velocity": 0.40, "pressure": 90.0, "soil_temperature": 36.0,
         "soil_water_content": 0.03, "lai": 1.2, "soil_temperature_tendency": 0.7},
        stress=0.4,
    ),
    "low light": _case(
        SOUTH | {"leaf_angle": "spherical", "soil_respiration": "alfalfa", "n_layers": 1},
        {"day_of_year": 172.0, "hour": 11.75, "air_temperature": 9.0, "shortwave_in": 75.0, "vapour_pressure": 1.06,
         "soil_temperature": 10.5, "soil_water_content": 0.38, "lai": 2.0, "observed_canopy_height": 0.6,
         "soil_temperature_tendency": -0.3},
        {"vcopt": 62.0, "jmopt": 110.0, "kball": 10.5, "bprime": 0.012, "leaf_clumping_factor": 0.7, "qalpha": 0.3,
         "nir_reflect": 0.45, "nir_trans": 0.31, "par_soil_refl": 0.14, "nir_soil_refl": 0.27, "ep": 0.95,
         "epsoil": 0.93, "lleaf": 0.02, "stability_stable": 0.5, "stability_unstable": 1.1, "porosity": 0.45},
    ),
    "high wind": _case(
        FOREST | {"leaf_angle": "spherical", "stomata": "amphistomatous"},
        {"day_of_year": 80.0, "hour": 13.25, "air_temperature": 6.0, "shortwave_in": 610.0, "vapour_pressure": 0.55,
         "wind_speed": 16.0, "friction_velocity": 1.6, "pressure": 85.6, "soil_temperature": 3.0, "lai": 4.5},
        {"par_reflect": 0.09, "par_trans": 0.03, "q10a": 3.0, "q10b": 2.2, "q10c": 0.5, "toptvc": 299.0,
         "toptjm": 307.0, "betfac": 1.3, "wind_extinction": 1.6, "surface_moisture_ratio": 0.3},
    ),
}  # fmt: skip
"""Name -> `site`, `forcing`, `parameters` (what differs from the defaults) and `stress`."""


def case_dispersion(name: str) -> np.ndarray:
    """The synthetic dispersion matrix of a case's site."""
    s = CASES[name]["site"]
    return dispersion_matrix(s["canopy_height"], s["measurement_height"], s["n_layers"], s["n_air_layers"])


def solution(name: str, **options) -> dict:
    """Solve one case; `options` go to `solve_half_hour` (relaxation, shift, tolerance)."""
    case = CASES[name]
    return solve_half_hour(
        case["forcing"], case["site"], case["parameters"], case_dispersion(name), case["stress"], **options
    )


_SOLVED: dict[str, dict] = {}


def solutions() -> dict[str, dict]:
    """The solutions of all ten, computed once (half a minute)."""
    if not _SOLVED:
        _SOLVED.update({name: solution(name) for name in CASES})
    return _SOLVED
