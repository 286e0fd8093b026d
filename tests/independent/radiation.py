"""Sun, sky, leaf angles and two-stream transfer. Layers j = 0..N-1 from the ground; levels k = 0..N, 0 at the soil."""

import math

import numpy as np

SIGMA = 5.670367e-8
SOLAR_CONSTANT = 1360.8
VISIBLE_SHARE = 0.383
NIR_SHARE = 0.517
CLASSES = 50
SMALLEST_SINE = 1e-3
"""Used only where the sine of the sun's elevation is divided by."""


def sine_of_elevation(day_of_year: float, hour: float, latitude: float, longitude: float, utc_offset: float) -> float:
    """Sine of the sun's elevation; single-cosine declination, equation of time of Campbell & Norman (1998, 11.4)."""
    day = math.floor(day_of_year)
    phi = latitude * math.pi / 180.0
    declination = -23.45 * math.pi / 180.0 * math.cos(2.0 * math.pi * (day + 10) / 365.0)
    f = math.pi * (279.5 + 0.9856 * day) / 180.0
    equation_of_time = (
        -104.7 * math.sin(f) + 596.2 * math.sin(2 * f) + 4.3 * math.sin(3 * f) - 12.7 * math.sin(4 * f)
        - 429.3 * math.cos(f) - 2.0 * math.cos(2 * f) + 19.3 * math.cos(3 * f)
    ) / 3600.0  # fmt: skip
    noon = 12.0 - 4.0 / 60.0 * (longitude - 15.0 * utc_offset) - equation_of_time
    hour_angle = math.pi * (hour - noon) / 12.0
    return math.sin(phi) * math.sin(declination) + math.cos(phi) * math.cos(declination) * math.cos(hour_angle)


def split(shortwave_in: float, pressure: float, sin_beta: float) -> dict[str, float]:
    """Beam and diffuse PAR (umol m-2 s-1) and NIR (W m-2), and the ratio `q` (Weiss & Norman 1985 as published).

    Args:
        shortwave_in: global radiation, W m-2, not negative.
        pressure: kPa.
        sin_beta: sine of elevation; below or at zero everything is diffuse.
    """
    par = 4.6 * shortwave_in / 2.0
    nir = shortwave_in - shortwave_in / 2.0
    if sin_beta <= 0.0:
        return {"par_beam": 0.0, "par_diffuse": par, "nir_beam": 0.0, "nir_diffuse": nir, "q": 0.89}
    sine = max(sin_beta, SMALLEST_SINE)
    m = pressure / (101.3 * sine)
    visible_direct = SOLAR_CONSTANT * VISIBLE_SHARE * math.exp(-0.185 * m) * sin_beta
    visible_diffuse = 0.4 * (SOLAR_CONSTANT * VISIBLE_SHARE * sin_beta - visible_direct)
    water = 0.077 * SOLAR_CONSTANT * (2.0 * m) ** 0.3
    nir_direct = (SOLAR_CONSTANT * NIR_SHARE * math.exp(-0.06 * m) - water) * sin_beta
    nir_diffuse = 0.6 * (SOLAR_CONSTANT * NIR_SHARE - visible_direct / sine - water) * sin_beta
    visible = max(0.1, visible_direct + visible_diffuse)
    infrared = max(0.1, nir_direct + nir_diffuse)
    q = min(max(shortwave_in / (visible + infrared), 0.22), 0.89)
    share_par = min(max(visible_direct / visible * (1.0 - ((0.9 - q) / 0.70) ** 0.67), 0.0), 1.0)
    share_nir = min(max(nir_direct / infrared * (1.0 - ((0.9 - q) / 0.68) ** 0.67), 0.0), 1.0)
    return {
        "par_beam": share_par * par, "par_diffuse": par - share_par * par,
        "nir_beam": share_nir * nir, "nir_diffuse": nir - share_nir * nir, "q": q,
    }  # fmt: skip


def sky_longwave(air_temperature: float, q: float, sin_beta: float) -> float:
    """Incoming long-wave, W m-2 (Idso & Jackson 1969, cloud blend with `q`); air temperature in K."""
    s = min(max(sin_beta / 0.1, 0.0), 1.0)
    weight = s * s * (3.0 - 2.0 * s)
    q_sky = 0.89 + weight * (q - 0.89)
    clear = 1.0 - 0.261 * math.exp(-7.77e-4 * (273.16 - air_temperature) ** 2)
    return SIGMA * air_temperature**4 * (clear * q_sky + 1.0 - q_sky)


def class_angles() -> list[float]:
    """Midpoints of 50 equal classes of [0, pi/2], used for leaf inclination and for sky zenith angle."""
    return [(i + 0.5) * math.pi / (2 * CLASSES) for i in range(CLASSES)]


def leaf_angle_weights(name: str) -> list[float]:
    """Share of leaf area in each inclination class (de Wit 1965; Wang, Li & Su 2007), summing to one."""
    density = {
        "erectophile": lambda a: 2 * (1 - math.cos(2 * a)) / math.pi,
        "spherical": lambda a: math.sin(a),
        "planophile": lambda a: 2 * (1 + math.cos(2 * a)) / math.pi,
        "plagiophile": lambda a: 2 * (1 - math.cos(4 * a)) / math.pi,
        "extremophile": lambda a: 2 * (1 + math.cos(4 * a)) / math.pi,
        "uniform": lambda a: 2 / math.pi,
    }[name]
    values = [density(a) for a in class_angles()]
    return [v / sum(values) for v in values]


def projection(zenith: float, weights: list[float]) -> float:
    """Mean projection G of unit leaf area towards a zenith angle (Warren Wilson 1960)."""
    total = 0.0
    for inclination, weight in zip(class_angles(), weights, strict=True):
        product = math.cos(zenith) * math.cos(inclination)
        cotangents = product / (math.sin(zenith) * math.sin(inclination))
        if cotangents >= 1.0:
            area = product
        else:
            psi = math.acos(cotangents)
            # product * tan(psi), written without the infinite tangent at the horizon
            product_tan = math.sin(zenith) * math.sin(inclination) * math.sin(psi)
            area = product + 2.0 / math.pi * (product_tan - product * psi)
        total += weight * area
    return total


def intercepted_diffuse(layer_lai: float, clumping: float, weights: list[float]) -> tuple[float, float]:
    """`1 - tau_d` of one layer and `chi = (1 - tau_d) / dL`, with its limit at no leaf area."""
    angles = class_angles()
    sky = [math.cos(a) * math.sin(a) for a in angles]
    depth = [clumping * projection(a, weights) / math.cos(a) for a in angles]
    share = [v / sum(sky) for v in sky]
    if layer_lai == 0.0:
        return 0.0, sum(v * x for v, x in zip(share, depth, strict=True))
    intercepted = sum(-v * math.expm1(-layer_lai * x) for v, x in zip(share, depth, strict=True))
    return intercepted, intercepted / layer_lai


def transfer_matrix(n: int, t: float, r: float, soil_albedo: float) -> np.ndarray:
    """Matrix of the 2 N + 2 two-stream equations for the unknowns `D_0..D_N, U_0..U_N` and equal layers.

    Rows: `D_j = t D_{j+1} + r U_j + s_down_j`; `D_N = top`; `U_0 = albedo D_0 + E`;
    `U_{j+1} = t U_j + r D_{j+1} + s_up_j`.
    """
    matrix = np.zeros((2 * n + 2, 2 * n + 2))
    up = n + 1
    for j in range(n):
        matrix[j, j] = 1.0
        matrix[j, j + 1] = -t
        matrix[j, up + j] = -r
        matrix[up + j + 1, up + j + 1] = 1.0
        matrix[up + j + 1, up + j] = -t
        matrix[up + j + 1, j + 1] = -r
    matrix[n, n] = 1.0
    matrix[up, up] = 1.0
    matrix[up, 0] = -soil_albedo
    return matrix


def solve_transfer(matrix: np.ndarray, top: float, soil_source: float, down, up) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes `(D, U)`, each `[N + 1]`, for sources `down[j]`, `up[j]` of the layers, by dense elimination."""
    n = len(down)
    rhs = np.zeros(2 * n + 2)
    for j in range(n):
        rhs[j] = down[j]
        rhs[n + 2 + j] = up[j]
    rhs[n] = top
    rhs[n + 1] = soil_source
    x = np.linalg.solve(matrix, rhs)
    return x[: n + 1], x[n + 1 :]


def shortwave_band(
    n: int, layer_lai: float, beam: float, diffuse: float, k: float, clumping: float, intercepted: float, chi: float,
    rho: float, tau: float, soil_rho: float,
) -> dict:  # fmt: skip
    """One short-wave band: fluxes on levels, absorption of sunlit and shaded leaves per leaf area, soil absorption."""
    gap = math.exp(-k * clumping * layer_lai)
    reaching_top = [gap ** (n - 1 - j) for j in range(n)]
    beam_at_soil = beam * gap**n
    caught = [beam * reaching_top[j] * (1.0 - gap) for j in range(n)]
    t = (1.0 - intercepted) + intercepted * tau
    r = intercepted * rho
    matrix = transfer_matrix(n, t, r, soil_rho)
    down, up = solve_transfer(
        matrix, diffuse, soil_rho * beam_at_soil, [tau * x for x in caught], [rho * x for x in caught]
    )
    alpha = 1.0 - rho - tau
    shade = np.array([alpha * chi * (down[j + 1] + up[j]) for j in range(n)])
    sun = shade + alpha * k * beam
    soil = (1.0 - soil_rho) * (down[0] + beam_at_soil)
    return {"down": down, "up": up, "sun": sun, "shade": shade, "soil": soil, "out": up[n]}


def sunlit_fraction(n: int, layer_lai: float, k: float, clumping: float, day: bool) -> np.ndarray:
    """Layer-mean sunlit fraction `[N]`; zero at night."""
    if not day:
        return np.zeros(n)
    x = k * clumping * layer_lai
    mean = clumping if x == 0.0 else -math.expm1(-x) / (k * layer_lai)
    return np.array([math.exp(-x * (n - 1 - j)) * mean for j in range(n)])
