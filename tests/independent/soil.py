"""Soil: properties, surface energy balance, respiration. Scalars of one half-hour."""

import math

SIGMA = 5.670367e-8


def saturation_vapour_pressure(t: float) -> float:
    """Pa; `t` in K."""
    return 100.0 * math.exp(54.8781919 - 6790.4985 / t - 5.02808 * math.log(t))


def latent_heat(t: float) -> float:
    """J kg-1; `t` in K."""
    return 3149000.0 - 2370.0 * t


def conductivity(water: float, t_ref: float, pressure: float, p: dict) -> float:
    """Thermal conductivity of the soil, W m-1 K-1 (weights of Campbell et al. 1994); pressure in kPa."""
    molar_density = 1000.0 * pressure / (8.314 * t_ref)
    fw = water**4 / (water**4 + 0.15**4)
    slope = 18.0 * latent_heat(t_ref) * saturation_vapour_pressure(t_ref) / (8314.0 * t_ref**2)
    k_air = 0.024 + 44100.0 * 2.42e-5 * fw * molar_density * slope / (1000.0 * pressure)
    k_water = p["water_conductivity"]
    k_fluid = k_air + fw * (k_water - k_air)

    def weight(k):
        return 2.0 / (3.0 * (1.0 + 0.2 * (k / k_fluid - 1.0))) + 1.0 / (3.0 * (1.0 + 0.6 * (k / k_fluid - 1.0)))

    mineral = (1.0 - p["porosity"] - p["organic_fraction"]) * weight(p["mineral_conductivity"])
    air = max(p["porosity"] - water, 0.0) * weight(k_air)
    wet = water * weight(k_water)
    organic = p["organic_fraction"] * weight(p["organic_conductivity"])
    carried = (
        mineral * p["mineral_conductivity"] + air * k_air + wet * k_water + organic * p["organic_conductivity_sum"]
    )
    return carried / (mineral + air + wet + organic)


def vapour_resistance(water: float, p: dict) -> float:
    """Resistance of the dry surface layer, s m-1 (Kondo et al. 1990)."""
    return 3e10 * (0.395 - p["surface_moisture_ratio"] * water) ** 16.6


def stability_factor(delta: float) -> float:
    """Factor on the neutral aerodynamic resistance; `delta` > 0: surface warmer than air (Daamen & Simmonds 1996)."""
    if delta > 0.0:
        return max((1.0 + delta) ** -0.75, 0.1)
    s = -delta
    if s <= 1.0 / 3.0:
        return (1.0 - s) ** -2
    return min(6.75 * s, 5.0)


def heat_capacity(water: float, p: dict) -> float:
    """Heat capacity of the soil, J m-3 K-1 (volume-weighted, de Vries 1963)."""
    minerals = 1.0 - p["porosity"] - p["organic_fraction"]
    return 1e6 * (1.94 * minerals + 2.5 * p["organic_fraction"] + 4.19 * water)


def surface_terms(t_s, t_a, e_a, wind, z, t_deep, t_ref, pressure, r_surface, k_over_l, p) -> dict:
    """Losses of the surface at temperature `t_s`: emission, sensible, latent and ground heat, W m-2."""
    delta = 5.0 * 9.8 * z * (t_s - t_a) / (t_a * wind**2)
    neutral = math.log(z / p["soil_roughness"]) ** 2 / (0.16 * wind)
    r_h = min(max(neutral * stability_factor(delta), p["soil_resistance_min"]), p["soil_resistance_max"])
    density = 28.97 * pressure / (8.314 * t_ref)
    vapour = 0.622 * density * latent_heat(t_a) / (1000.0 * pressure * (r_h + r_surface))
    return {
        "emission": p["epsoil"] * SIGMA * t_s**4,
        "H": density * 1005.0 * (t_s - t_a) / r_h,
        "LE": vapour * (saturation_vapour_pressure(t_s) - e_a),
        "G": k_over_l * (t_s - t_deep),
        "r_h": r_h,
        "delta": delta,
    }


def bisect_surface(absorbed, t_a, e_a, wind, z, t_deep, t_ref, pressure, r_surface, k_over_l, p) -> dict:
    """Surface temperature (K) that balances the absorbed energy, with the fluxes at it."""
    low, high = t_a - 80.0, t_a + 120.0
    for _ in range(64):
        t_s = 0.5 * (low + high)
        x = surface_terms(t_s, t_a, e_a, wind, z, t_deep, t_ref, pressure, r_surface, k_over_l, p)
        if x["emission"] + x["H"] + x["LE"] + x["G"] < absorbed:
            low = t_s
        else:
            high = t_s
    t_s = 0.5 * (low + high)
    return {"T": t_s} | surface_terms(t_s, t_a, e_a, wind, z, t_deep, t_ref, pressure, r_surface, k_over_l, p)


ALFALFA = (
    (-1.51316616076344, 1.38034307225825, 2.14475255616910),
    (0.673139978230031, 3.73823712105636, 19.9136298988773),
    (-59.2947930385706, 59.9066980644239, 0.000987230986585085),
    (-3.33294857624960, 1.36701108005293, 0.0569682453563841),
)


def respiration(kind: str, t_s, t_deep, water, height, assimilation, leaf_respiration, p: dict) -> float:
    """Soil respiration, umol m-2 s-1; `assimilation`, `leaf_respiration`: canopy totals (alfalfa regression only)."""
    t9 = t_deep + (t_s - t_deep) * (1.0 - p["respiration_depth_fraction"])
    if kind == "q10":
        return p["q10a"] * p["q10b"] ** ((t9 - 283.15) / 10.0) * water ** p["q10c"]
    total = 0.0
    for (b1, b2, b3), x in zip(ALFALFA, (assimilation + leaf_respiration, t9, water, height), strict=True):
        total += b1 + b2 * x / (b3 + x)
    return 4.846927939437475 + 2.22166756601498 * total - 0.0281417120818586 * total**2 - leaf_respiration
