"""One half-hour of the whole column by plain damped passes."""

import math

import numpy as np

from tests.independent import leaf, radiation, soil

DEFAULTS = {
    "leaf_clumping_factor": 0.95, "par_reflect": 0.05, "par_trans": 0.05, "par_soil_refl": 0.05, "nir_reflect": 0.60,
    "nir_trans": 0.20, "nir_soil_refl": 0.10, "ep": 0.98, "epsoil": 0.98, "vcopt": 171.0, "jmopt": 259.0,
    "toptvc": 303.0, "toptjm": 303.0, "kball": 8.17, "bprime": 0.05, "qalpha": 0.22, "lleaf": 0.04, "hkin": 200000.0,
    "ejm": 55000.0, "evc": 55000.0, "kc25": 274.6, "ko25": 419.8, "o2": 210.0, "ekc": 80500.0, "erd": 38000.0,
    "tk_25": 298.16, "dark_respiration_ratio": 0.004657, "light_inhibition": 0.6, "light_inhibition_par": 10.0,
    "light_inhibition_width": 2.0, "betfac": 1.5, "nuvisc": 13.27, "dc": 13.81, "dh": 18.69, "dv": 21.78,
    "wind_extinction": 2.0, "wind_floor": 0.75, "friction_velocity_floor": 0.1, "porosity": 0.60,
    "organic_fraction": 0.08, "mineral_conductivity": 2.5, "water_conductivity": 0.25, "organic_conductivity": 0.8,
    "organic_conductivity_sum": 2.5, "surface_moisture_ratio": 0.1, "soil_roughness": 0.02,
    "soil_resistance_min": 25.0, "soil_resistance_max": 1000.0, "respiration_depth_fraction": 1022.0 / 2046.0,
    "q10a": 5.0, "q10b": 1.7, "q10c": 0.8, "stability_unstable": 0.7182, "stability_stable": 0.0,
}  # fmt: skip
"""Values of the equations' scalars where a case does not give its own."""

SIDES = {"hypostomatous": 1, "amphistomatous": 2}
SCALES = {"T_leaf": 1.0, "T_air": 1.0, "e_air": 10.0, "co2_air": 1.0, "T_soil": 1.0, "zeta": 0.1}
"""Size of one unit of change per variable: K, K, Pa, umol mol-1, K, 1."""


class Column:
    """The constants of one half-hour (sun, short-wave, soil, wind) and the map `u -> F(u)` of one pass."""

    def __init__(self, forcing: dict, site: dict, parameters: dict, dispersion: np.ndarray, stress=1.0):
        unknown = set(parameters) - set(DEFAULTS)
        if unknown:
            raise ValueError(f"unknown parameters {sorted(unknown)}; known are {sorted(DEFAULTS)}.")
        self.p = p = DEFAULTS | parameters
        self.forcing, self.site, self.stress = forcing, site, stress
        self.n = n = site["n_layers"]
        self.levels = n + site["n_air_layers"]
        self.dispersion = np.asarray(dispersion, dtype=float)
        if self.dispersion.shape != (self.levels, n):
            raise ValueError(f"dispersion must have shape {(self.levels, n)}, got {self.dispersion.shape}.")
        self.t_ref = forcing["air_temperature"] + 273.15
        self.e_ref = 1000.0 * forcing["vapour_pressure"]
        self.t_deep = forcing["soil_temperature"] + 273.15
        self.pressure = forcing["pressure"]
        self.density = 28.97 * self.pressure / (8.314 * self.t_ref)
        self.u_star = max(forcing["friction_velocity"], p["friction_velocity_floor"])
        self.shortwave_in = max(forcing["shortwave_in"], 0.0)
        self.layer_lai = forcing["lai"] / n
        self.sides = SIDES[site["stomata"]]
        self._shortwave()
        self.wind = leaf.wind_profile(forcing["wind_speed"], site["canopy_height"], site["measurement_height"], n, p)
        self.k_over_l = soil.conductivity(forcing["soil_water_content"], self.t_ref, self.pressure, p) / site.get(
            "soil_depth", 0.15
        )
        tendency = forcing.get("soil_temperature_tendency", math.nan)
        capacity = soil.heat_capacity(forcing["soil_water_content"], p)
        self.storage = capacity * site.get("soil_depth", 0.15) * tendency / 3600.0 if math.isfinite(tendency) else 0.0
        self.r_surface = soil.vapour_resistance(forcing["soil_water_content"], p)

    def _shortwave(self) -> None:
        f, s, p, n = self.forcing, self.site, self.p, self.n
        weights = radiation.leaf_angle_weights(s["leaf_angle"])
        omega = p["leaf_clumping_factor"]
        self.sin_beta = radiation.sine_of_elevation(
            f["day_of_year"], f["hour"], s["latitude"], s["longitude"], s["utc_offset"]
        )
        day = self.sin_beta > 0.0
        k = 0.0
        if day:
            zenith = math.pi / 2.0 - math.asin(self.sin_beta)
            k = radiation.projection(zenith, weights) / max(self.sin_beta, radiation.SMALLEST_SINE)
        self.k = k
        self.intercepted, self.chi = radiation.intercepted_diffuse(self.layer_lai, omega, weights)
        self.split = radiation.split(self.shortwave_in, self.pressure, self.sin_beta)
        self.bands = {}
        for band in ("par", "nir"):
            self.bands[band] = radiation.shortwave_band(
                n, self.layer_lai, self.split[band + "_beam"], self.split[band + "_diffuse"], k, omega,
                self.intercepted, self.chi, p[band + "_reflect"], p[band + "_trans"], p[band + "_soil_refl"],
            )  # fmt: skip
        self.sunlit = radiation.sunlit_fraction(n, self.layer_lai, k, omega, day)
        measured = f.get("longwave_in", math.nan)
        self.longwave_in = (
            measured if math.isfinite(measured) else radiation.sky_longwave(self.t_ref, self.split["q"], self.sin_beta)
        )
        scatter = (1.0 - p["ep"]) / 2.0
        self.longwave_matrix = radiation.transfer_matrix(
            n, 1.0 - self.intercepted + self.intercepted * scatter, self.intercepted * scatter, 1.0 - p["epsoil"]
        )

    def start(self, shift: float = 0.0) -> dict[str, np.ndarray]:
        """State to start from: the reference air everywhere; `shift` moves every variable away from it (kelvin)."""
        n, levels = self.n, self.levels
        ramp = np.linspace(1.0, 0.0, levels)
        return {
            "T_leaf": np.full((2, n), self.t_ref) + shift * np.array([[1.5], [-0.5]]),
            "T_air": self.t_ref + shift * ramp,
            "e_air": self.e_ref * (1.0 + 0.04 * shift * ramp),
            "co2_air": self.forcing["co2"] - 5.0 * shift * ramp,
            "T_soil": np.array(self.t_ref + 3.0 * shift),
            "zeta": np.array(min(max(-0.2 * shift, -3.0), 0.25)),
        }

    def layers_mean(self, x: np.ndarray) -> np.ndarray:
        """Mean of a leaf quantity `[2, N]` (sunlit, shaded) over the leaves of each layer."""
        return np.array([self.sunlit[j] * x[0, j] + (1.0 - self.sunlit[j]) * x[1, j] for j in range(self.n)])

    def canopy_sum(self, x: np.ndarray) -> float:
        """Sum of a leaf quantity `[2, N]` over the canopy, per ground area."""
        return sum(float(v) * self.layer_lai for v in self.layers_mean(x))

    def profile(self, reference: float, source: np.ndarray, soil_flux: float, factor: float, psi: float) -> np.ndarray:
        """Scalar in the air `[n_layers + n_air_layers]` from the layer fluxes `source` (per leaf area) and the soil."""
        result = np.full(self.levels, float(reference))
        for j in range(self.n):
            result += psi * self.dispersion[:, j] * source[j] * self.layer_lai / (self.u_star * factor)
        return result + psi * self.dispersion[:, 0] * soil_flux / (self.u_star * factor)

    def longwave(self, t_leaf: np.ndarray, t_soil: float) -> tuple[np.ndarray, np.ndarray]:
        """Long-wave fluxes down and up on the levels, W m-2."""
        emitted = self.intercepted * self.p["ep"] * radiation.SIGMA * self.layers_mean(t_leaf**4)
        soil_emission = self.p["epsoil"] * radiation.SIGMA * t_soil**4
        return radiation.solve_transfer(self.longwave_matrix, self.longwave_in, soil_emission, emitted, emitted)

    def one_pass(self, u: dict) -> tuple[dict, dict]:
        """`F(u)` and everything computed on the way."""
        p, n, f = self.p, self.n, self.forcing
        down, up = self.longwave(u["T_leaf"], float(u["T_soil"]))
        par = np.stack([self.bands["par"]["sun"], self.bands["par"]["shade"]])
        nir = np.stack([self.bands["nir"]["sun"], self.bands["nir"]["shade"]])
        absorbed = nir + par / 4.6 + p["ep"] * self.chi * (down[1:] + up[:-1])
        leaves = leaf.leaf(
            u["T_leaf"], u["T_air"][:n], u["e_air"][:n], u["co2_air"][:n], self.wind, par, absorbed, self.chi,
            self.pressure, self.sides, self.stress, p,
        )  # fmt: skip
        k = min(1, n - 1)
        soil_absorbed = self.bands["par"]["soil"] / 4.6 + self.bands["nir"]["soil"] + p["epsoil"] * down[0]
        z = (k + 1) * self.site["canopy_height"] / n
        surface = soil.bisect_surface(
            float(soil_absorbed) - self.storage, float(u["T_air"][k]), float(u["e_air"][k]), float(self.wind[k]), z, self.t_deep,
            self.t_ref, self.pressure, self.r_surface, self.k_over_l, p,
        )  # fmt: skip
        surface["G"] += self.storage  # the heat that the soil above the measured depth takes up
        total = {name: self.canopy_sum(leaves[name]) for name in ("H", "LE", "A", "rd")}
        height = f.get("observed_canopy_height", math.nan)
        soil_respiration = soil.respiration(
            self.site.get("soil_respiration", "q10"), surface["T"], self.t_deep, f["soil_water_content"],
            height if math.isfinite(height) else self.site["canopy_height"], total["A"], total["rd"], p,
        )  # fmt: skip
        zeta = float(u["zeta"])
        a, b = p["stability_unstable"], p["stability_stable"]
        psi = a / (a - zeta) if zeta < 0.0 else 1.0 - b * zeta
        t_above = float(u["T_air"][n])
        vapour_factor = (3149000.0 - 2370.0 * t_above) * 0.01801 / (8.314 * t_above)
        sensible = total["H"] + surface["H"]
        lever = self.site["measurement_height"] - 0.6 * self.site["canopy_height"]
        mean = {name: self.layers_mean(leaves[name]) for name in ("H", "LE", "A")}
        new = {
            "T_leaf": leaves["T"],
            "T_air": self.profile(self.t_ref, mean["H"], surface["H"], self.density * 1005.0, psi),
            "e_air": self.profile(self.e_ref, mean["LE"], surface["LE"], vapour_factor, psi),
            "co2_air": self.profile(f["co2"], -mean["A"], soil_respiration, 1000.0 * self.density / 28.97, psi),
            "T_soil": np.array(surface["T"]),
            "zeta": np.clip(
                -0.4 * 9.8 * lever * sensible / (self.density * 1005.0 * self.t_ref * self.u_star**3), -3.0, 0.25
            ),
        }
        return new, {
            "leaves": leaves, "surface": surface, "total": total, "soil_respiration": soil_respiration, "down": down,
            "up": up, "absorbed": absorbed, "soil_absorbed": soil_absorbed, "par": par, "nir": nir,
        }  # fmt: skip

    def outputs(self, u: dict, made: dict) -> dict:
        """Fluxes of the half-hour at state `u`; signs as in the table of outputs (H, LE up, G down, NEE release)."""
        total, surface, n = made["total"], made["surface"], self.n
        shortwave_out = self.bands["par"]["out"] / 4.6 + self.bands["nir"]["out"]
        longwave_out = made["up"][n]
        gross = total["A"] + total["rd"]
        return {
            "LE": total["LE"] + surface["LE"],
            "H": total["H"] + surface["H"],
            "G": surface["G"],
            "Rnet": float(self.shortwave_in - shortwave_out + self.longwave_in - longwave_out),
            "NEE": made["soil_respiration"] - total["A"],
            "GPP": gross,
            "nee_published": made["soil_respiration"] - gross,
            "soil_respiration": made["soil_respiration"],
            "soil_surface_temperature": float(u["T_soil"]),
            "zeta": float(u["zeta"]),
            "T_sun": u["T_leaf"][0], "T_shade": u["T_leaf"][1],
            "T_air": u["T_air"], "e_air": u["e_air"], "co2_air": u["co2_air"],
            "shortwave_in": self.shortwave_in, "shortwave_out": float(shortwave_out),
            "longwave_in": self.longwave_in, "longwave_out": float(longwave_out),
            "sunlit": self.sunlit, "sin_beta": self.sin_beta,
        }  # fmt: skip


def solve_half_hour(
    forcing: dict[str, float],
    site: dict,
    parameters: dict,
    dispersion: np.ndarray,
    stress=1.0,
    *,
    relaxation: float = 0.1,
    shift: float = 0.0,
    tolerance: float = 1e-10,
    max_passes: int = 20000,
) -> dict:
    """Solve one half-hour: `u <- u + relaxation (F(u) - u)` until `F(u) - u` is below `tolerance`.

    Args:
        forcing: numbers named and in the units of the forcing table; a missing or NaN `longwave_in` means sky model.
        site: constants named as the fields of the site (degrees, hours, metres).
        parameters: scalars that differ from `DEFAULTS`.
        dispersion: `[n_layers + n_air_layers, n_layers]`, s m-1 at unit friction velocity, ground first.
        stress: factor on leaf humidity in the stomatal equation, scalar or `[n_layers]`.
        relaxation: share of the change that is made in each pass.
        shift: start this many kelvin (and what goes with it) away from the reference air.
        tolerance: largest `F(u) - u` allowed, in K, 10 Pa, umol mol-1 and 0.1 of stability, whichever is worst.
        max_passes: give up after this many.

    Returns:
        Fluxes, profiles, `change` (the last `F(u) - u`, same scale), `passes`; `column`, `state`, `made` for checks.

    Raises:
        RuntimeError: not converged; the message says how far it got.
    """
    column = Column(forcing, site, parameters, dispersion, stress)
    u = column.start(shift)
    change = math.inf
    for passes in range(1, max_passes + 1):
        new, made = column.one_pass(u)
        change = max(float(np.max(np.abs(new[name] - u[name]))) / SCALES[name] for name in u)
        if change < tolerance:
            out = column.outputs(u, made)
            return out | {"change": change, "passes": passes, "column": column, "state": u, "made": made}
        u = {name: u[name] + relaxation * (new[name] - u[name]) for name in u}
    raise RuntimeError(f"no convergence in {max_passes} passes: last change {change:.3e}, wanted {tolerance:.1e}.")
