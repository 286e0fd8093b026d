"""Leaves: boundary layer, photosynthesis with stomata, energy balance; arrays of any shape, one element a leaf."""

import numpy as np

SIGMA = 5.670367e-8
GAS = 8.314
HALVINGS = 60


def saturation_vapour_pressure(t):
    """Pa, over water; `t` in K."""
    return 100.0 * np.exp(54.8781919 - 6790.4985 / t - 5.02808 * np.log(t))


def latent_heat(t):
    """J kg-1; `t` in K."""
    return 3149000.0 - 2370.0 * t


def wind_profile(wind: float, height: float, measurement_height: float, n: int, p: dict) -> np.ndarray:
    """Wind `[N]` at the tops of the layers, m s-1: neutral logarithm above, exponential inside the canopy."""
    u = max(wind, p["wind_floor"])
    d, z0 = 0.6 * height, 0.1 * height
    top = u * np.log((height - d) / z0) / np.log((measurement_height - d) / z0)
    return np.array([top * np.exp(p["wind_extinction"] * ((j + 1) / n - 1.0)) for j in range(n)])


def boundary_layer(t_leaf, t_air, wind, pressure: float, p: dict) -> tuple:
    """One-sided resistances for heat, vapour and CO2, s m-1; pressure in kPa."""
    scale = 101.3 / pressure * (t_air / 273.16) ** 1.81
    nu0 = p["nuvisc"] * 1e-6
    reynolds = p["lleaf"] * wind / (nu0 * scale)
    grashof = np.maximum(9.8 * p["lleaf"] ** 3 / nu0**2 * (t_leaf - t_air) / t_air, 0.0)
    forced = p["betfac"] * np.maximum(0.66 * reynolds**0.5, 0.036 * reynolds**0.8)
    free = 0.5 * ((grashof + 1.0) ** 0.25 - 1.0)
    transfer = np.cbrt(forced**3 + free**3)
    resistances = []
    for name in ("dh", "dv", "dc"):
        number = transfer * (p["nuvisc"] / p[name]) ** 0.33
        resistances.append(p["lleaf"] / (p[name] * 1e-6 * scale * number))
    return tuple(resistances)


def kinetics(t_leaf, par, p: dict) -> dict:
    """Rates and constants of Farquhar's model at leaf temperature clipped to [255, 330] K; `par` absorbed, umol."""
    t = np.clip(t_leaf, 255.0, 330.0)
    t25 = p["tk_25"]

    def arrhenius(rate, energy):
        return rate * np.exp((t - t25) * energy / (t25 * GAS * t))

    def peaked(rate, energy, optimum):
        xi = (t - optimum) / (GAS * optimum * t)
        return rate * p["hkin"] * np.exp(energy * xi) / (p["hkin"] - energy * (1.0 - np.exp(p["hkin"] * xi)))

    c = t - 273.15
    specificity = (
        102.0 * (78.5e-3 - 2.89e-3 * c + 54.7e-6 * c**2 - 0.417e-6 * c**3)
        / (2.1e-3 - 57.1e-6 * c + 1.024e-6 * c**2 - 7.503e-9 * c**3)
    )  # fmt: skip
    inhibition = 1.0 - p["light_inhibition"] / (
        1.0 + np.exp(-(par - p["light_inhibition_par"]) / p["light_inhibition_width"])
    )
    jmax = peaked(p["jmopt"], p["ejm"], p["toptjm"])
    return {
        "kco": arrhenius(p["kc25"], p["ekc"]) * (1.0 + 101.3 * p["o2"] / (100.0 * p["ko25"])),
        "gamma": 500.0 * p["o2"] / specificity,
        "rd": arrhenius(p["dark_respiration_ratio"] * p["vcopt"], p["erd"]) * inhibition,
        "vmax": peaked(p["vcopt"], p["evc"], p["toptvc"]),
        "j": p["qalpha"] * par / np.sqrt(1.0 + (p["qalpha"] * par / jmax) ** 2),
    }


def bisect_internal_co2(a, e, b_const, gamma, rd, ca, g, b, kappa):
    """Internal CO2 at which demand meets supply, for demand `a (ci - gamma) / (e ci + b_const) - rd`.

    Demand rises with `ci`; the `ci` that boundary layer and stomata supply falls with demand; so there is one crossing.
    `b`, `kappa`: intercept and slope of the stomatal conductance for CO2, mol m-2 s-1 and 1.
    """

    def demand(ci):
        return a * (ci - gamma) / (e * ci + b_const) - rd

    at_air = demand(ca)
    low = np.zeros_like(at_air)
    high = ca + np.maximum(-at_air, 0.0) * (1.0 / g + 1.0 / b) + 1e-9
    for _ in range(HALVINGS):
        ci = 0.5 * (low + high)
        net = demand(ci)
        cs = ca - net / g
        possible = cs > 0.0
        cs = np.where(possible, cs, 1.0)
        supplied = cs - net / (b + kappa * np.maximum(net, 0.0) / cs)
        too_low = possible & (supplied > ci)
        low = np.where(too_low, ci, low)
        high = np.where(too_low, high, ci)
    return 0.5 * (low + high)


def photosynthesis(t_leaf, par, e_air, ca, r_co2, pressure: float, sides: int, stress, p: dict) -> dict:
    """Net assimilation as the smaller of the Rubisco-limited and the light-limited solution, and what goes with it."""
    k = kinetics(t_leaf, par, p)
    phi = 101.3 * 0.022624 / (273.15 * pressure)
    g = sides / (r_co2 * t_leaf * phi)
    humidity = np.clip(e_air / saturation_vapour_pressure(t_leaf), 0.01, 1.0) * stress
    kappa = p["kball"] * humidity / 1.6
    b = p["bprime"] / 1.6
    a = np.stack([k["vmax"], k["j"]])
    e = np.stack([np.ones_like(k["j"]), 4.0 * np.ones_like(k["j"])])
    constant = np.stack([k["kco"], 8.0 * k["gamma"]])
    ci_both = bisect_internal_co2(a, e, constant, k["gamma"], k["rd"], ca, g, b, kappa)
    both = a * (ci_both - k["gamma"]) / (e * ci_both + constant) - k["rd"]
    net = np.minimum(both[0], both[1])
    cs = ca - net / g
    gsw = p["bprime"] + p["kball"] * humidity * np.maximum(net, 0.0) / cs
    return {
        "A": net, "rd": k["rd"], "cs": cs, "ci": cs - 1.6 * net / gsw, "gsw": gsw, "gs": gsw * t_leaf * phi,
        "A_rubisco": both[0], "A_light": both[1], "g": g, "h": humidity,
    }  # fmt: skip


def bisect_leaf_temperature(absorbed, chi: float, t_air, e_air, heat, vapour, emissivity: float):
    """Temperature at which `absorbed = 2 chi eps sigma T^4 + heat (T - Ta) + vapour (e_s(T) - e_a)`, K."""
    low, high = t_air - 80.0, t_air + 120.0
    for _ in range(HALVINGS):
        t = 0.5 * (low + high)
        lost = (
            2.0 * chi * emissivity * SIGMA * t**4
            + heat * (t - t_air)
            + vapour * (saturation_vapour_pressure(t) - e_air)
        )
        colder = lost < absorbed
        low = np.where(colder, t, low)
        high = np.where(colder, high, t)
    return 0.5 * (low + high)


def leaf(t_leaf, t_air, e_air, ca, wind, par, absorbed, chi, pressure, sides, stress, p) -> dict:
    """Fluxes per leaf area and the temperature that the energy balance gives for the conductances at `t_leaf`."""
    r_heat, r_vapour, r_co2 = boundary_layer(t_leaf, t_air, wind, pressure, p)
    out = photosynthesis(t_leaf, par, e_air, ca, r_co2, pressure, sides, stress, p)
    density = 28.97 * pressure / (GAS * t_air)
    conductance = 1.0 / (r_vapour / sides + 1.0 / out["gs"])
    heat = 2.0 * density * 1005.0 / r_heat
    vapour = 0.622 * density * latent_heat(t_air) * conductance / (1000.0 * pressure)
    t = bisect_leaf_temperature(absorbed, chi, t_air, e_air, heat, vapour, p["ep"])
    out |= {
        "T": t, "H": heat * (t - t_air), "LE": vapour * (saturation_vapour_pressure(t) - e_air), "heat": heat,
        "vapour": vapour,
    }  # fmt: skip
    return out
