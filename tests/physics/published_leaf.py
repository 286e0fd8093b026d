"""The published leaf, written from its description: cubic in the net rate with its defects, quadratics of the energy budget.

Used to show that the published numbers follow from the package's kinetics and conductances once its defects, named at
their lines, are put in.
"""

from typing import NamedTuple

import numpy as np

GAS, SIGMA = 8.314, 5.670367e-8
PI_OF_ROOTS = 3.1415926
"""The digits of pi in the published formula of the roots."""


class Leaf(NamedTuple):
    """What the published leaf gets: kinetics, boundary-layer conductance of one face (mol m-2 s-1), CO2, humidity."""

    vm: np.ndarray
    kco: np.ndarray
    j: np.ndarray
    gamma: np.ndarray
    rd: np.ndarray
    g_b: np.ndarray
    ca: np.ndarray
    humidity: np.ndarray
    kball: float
    bprime: float


def cubic_coefficients(x: Leaf, limit, coupling) -> tuple:
    """`p, q, r` of `A^3 + p A^2 + q A + r` for a limit `(a, e, b)` and `coupling = (alpha, beta, gamma, theta)`."""
    a, e, b = limit
    alpha, beta, gamma, theta = coupling
    delta = e * alpha
    p = (e * beta + b * theta - a * alpha + e * x.rd * alpha) / delta
    q = (
        e * gamma + b * gamma / x.ca - a * beta + a * x.gamma * theta + e * x.rd * beta + x.rd * b * theta
    ) / delta  # fmt: skip
    r = (-a * gamma + a * x.gamma * gamma / x.ca + e * x.rd * gamma + x.rd * b * gamma / x.ca) / delta
    return p, q, r


def exact_coupling(x: Leaf, sides: int) -> tuple:
    g, b, kappa = sides * x.g_b, x.bprime / 1.6, x.kball * x.humidity / 1.6
    return 1 + b / g - kappa, x.ca * (g * kappa - 2 * b - g), x.ca**2 * g * b, g * kappa - b


def published_coupling(x: Leaf, sides: int) -> tuple:
    """With stomata on both faces the intercept is counted twice, once with a slip."""
    if sides == 1:
        return exact_coupling(x, 1)
    g, b, kappa = x.g_b, x.bprime / 1.6, x.kball * x.humidity / 1.6
    return 1 + b / g - kappa, x.ca * (2 * g * kappa - 3 * b - 2 * g), 4 * x.ca**2 * g * b, 2 * g * kappa - 2 * b


def smaller_root(eta: float, x, y):
    return ((x + y) - np.sqrt((x + y) ** 2 - 4 * eta * x * y)) / (2 * eta)


def photosynthesis(x: Leaf, sides: int) -> dict[str, np.ndarray]:
    """Net rate, conductance (mol m-2 s-1) and the rates at the end; `quadratic` marks where the last rule overrides."""
    b = x.bprime / 1.6

    def rates(ci):
        return x.j * (ci - x.gamma) / (4 * ci + 8 * x.gamma), x.vm * (ci - x.gamma) / (ci + x.kco)

    wj, wc = rates(0.7 * x.ca)  # the limit is chosen at a fixed ci
    light = wj < wc
    limit = np.where(light, x.j, x.vm), np.where(light, 4.0, 1.0), np.where(light, 8 * x.gamma, x.kco)
    p, q, r = cubic_coefficients(x, limit, published_coupling(x, sides))
    big_q, big_r = (p**2 - 3 * q) / 9, (2 * p**3 - 9 * p * q + 27 * r) / 54
    angle = np.arccos(np.clip(big_r / np.sqrt(np.maximum(big_q**3, 0.01)), -0.99, 0.99))  # clipped: a wrong root
    amplitude = -2 * np.sqrt(np.maximum(big_q, 0.01))
    turns = np.array([0.0, 2 * PI_OF_ROOTS, -2 * PI_OF_ROOTS]).reshape((3,) + (1,) * p.ndim)
    roots = np.where(
        big_q**3 - big_r**2 > 0, amplitude * np.cos((angle + turns) / 3) - p / 3, 0.0
    )  # one real root: taken as 0
    low, mid, high = np.sort(roots, axis=0)
    cases = [
        (low > 0, low), ((low < 0) & (mid < 0) & (high > 0), high), ((low < 0) & (mid > 0) & (high > 0), mid),
        ((low < 0) & (mid < 0) & (high < 0), high),
    ]  # fmt: skip
    net = np.select([c for c, _ in cases], [v for _, v in cases], low) - x.rd  # subtracted from a net rate
    sucrose = x.vm / 2 - x.rd
    net = np.minimum(net, sucrose)

    humidity = np.minimum(x.humidity, 1.0)  # clipped here, not in the cubic
    cs = x.ca - net / (sides * x.g_b)
    g_sw = x.kball * humidity * net / cs + x.bprime
    ci = cs - net / (g_sw / 1.6)
    wj, wc = rates(ci)
    gross = smaller_root(0.95, smaller_root(0.98, wj, wc), sucrose)
    rewritten = (gross < net) & (gross > 0)  # gross compared with net; cs and ci are not renewed
    g_sw = np.where(rewritten, x.kball * humidity * (gross - x.rd) / cs + x.bprime, g_sw)
    net = np.where(rewritten, gross - x.rd, net)

    quadratic = (wj <= x.rd) | (wc <= x.rd)  # with one face's conductance
    a, e, constant = limit
    pi, sigma, xi = x.ca * x.g_b * b, b + x.g_b, x.g_b * b
    qa = sigma * e
    qb = -pi * e - a * sigma + e * x.rd * sigma - constant * xi
    qc = a * pi - a * x.gamma * xi - e * x.rd * pi - x.rd * constant * xi
    other = (-qb - np.sqrt(np.maximum(0.0, qb**2 - 4 * qa * qc))) / (2 * qa)
    return {
        "net": np.where(quadratic, other, net), "g_sw": np.where(quadratic, x.bprime, g_sw), "wj": wj, "wc": wc,
        "sucrose": sucrose, "quadratic": quadratic,
    }  # fmt: skip


def energy(absorbed, stomatal, r_heat, r_vapour, air, vapour, pressure, sides: int, emissivity=0.98) -> dict:
    """Latent and sensible heat and temperature from two separate expansions; `stomatal` in m s-1."""
    density = 28.97 * pressure / (GAS * air)
    latent = 3149000.0 - 2370.0 * air + np.where(air < 273.0, 333.0, 0.0)
    saturation = 100 * np.exp(54.8781919 - 6790.4985 / air - 5.02808 * np.log(air))
    slope = 18 * latent * saturation / (8314 * air**2)
    curvature = -2 * 18 * latent * saturation / (8314 * air**3) + slope * 18 * latent / (8314 * air**2)
    deficit = np.clip(saturation - vapour, 0.0, 5000.0)
    h2 = 2 * density * 1005 / r_heat
    k_e = 0.622 * density * latent / (1000 * pressure * (r_vapour / sides + 1 / stomatal))
    own = 2 * emissivity * SIGMA * air**4
    excess, r_p = absorbed - own, h2 + 8 * emissivity * SIGMA * air**3
    a = k_e * curvature / (2 * r_p) * (0.5 if sides == 1 else 1.0)
    b = -r_p - k_e * slope - 2 * a * excess / (1.0 if sides == 1 else r_p)
    c = k_e * (r_p * deficit + slope * excess) + a * excess**2
    evaporation = (-b - np.sqrt(np.maximum(0.0, b**2 - 4 * a * c))) / (2 * a)
    at = 12 * emissivity * SIGMA * air**2 + 0.5 * k_e * curvature
    bt = 8 * emissivity * SIGMA * air**3 + h2 + k_e * slope
    ct = -absorbed + own + k_e * deficit
    rise = (-bt + np.sqrt(bt**2 - 4 * at * ct)) / (2 * at)
    return {"LE": evaporation, "H": h2 * rise, "Tsfc": air + rise, "deficit": deficit}
