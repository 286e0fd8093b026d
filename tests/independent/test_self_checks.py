"""The slow solution checked against itself: conservation, residuals of every equation, uniqueness, worked values."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest

from tests.independent import leaf, radiation, soil
from tests.independent.cases import CASES, WEATHER, case_dispersion, solution, solutions
from tests.independent.column import DEFAULTS, Column, solve_half_hour

SIGMA = 5.670367e-8
FLUXES = ("LE", "H", "G", "Rnet", "NEE", "GPP", "soil_respiration", "soil_surface_temperature", "zeta")


@pytest.fixture(scope="module")
def solved() -> dict[str, dict]:
    return solutions()


each_case = pytest.mark.parametrize("name", list(CASES))


def test_nothing_is_shared_with_the_package():
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            foreign = {n for n in names if n != "tests.independent" and not n.startswith("tests.independent.")}
            assert {n.split(".")[0] for n in foreign} <= {"ast", "math", "pathlib", "numpy", "pytest"}, (path, names)


@each_case
def test_converged_and_energy_closes(solved, name):
    s = solved[name]
    assert s["change"] < 1e-10
    assert abs(s["Rnet"] - s["LE"] - s["H"] - s["G"]) < 1e-7
    assert all(np.all(np.isfinite(s[key])) for key in (*FLUXES, "T_sun", "T_shade", "T_air", "e_air", "co2_air"))
    assert s["e_air"].min() > 0


@each_case
def test_shortwave_is_absorbed_or_reflected(solved, name):
    s, column = solved[name], solved[name]["column"]
    assert column.split["par_beam"] + column.split["par_diffuse"] == pytest.approx(2.3 * s["shortwave_in"], abs=1e-9)
    absorbed = 0.0
    for band, unit in (("par", 4.6), ("nir", 1.0)):
        b = column.bands[band]
        leaves = sum(
            column.layer_lai * (s["sunlit"][j] * b["sun"][j] + (1 - s["sunlit"][j]) * b["shade"][j])
            for j in range(column.n)
        )
        absorbed += (leaves + b["soil"]) / unit
    assert s["shortwave_in"] - s["shortwave_out"] == pytest.approx(absorbed, abs=1e-9)


@each_case
def test_longwave_is_absorbed_or_leaves(solved, name):
    s, made, column = solved[name], solved[name]["made"], solved[name]["column"]
    eps, eps_soil = column.p["ep"], column.p["epsoil"]
    gained = eps_soil * (made["down"][0] - SIGMA * s["soil_surface_temperature"] ** 4)
    for j in range(column.n):
        incident = made["down"][j + 1] + made["up"][j]
        for share, t in ((s["sunlit"][j], s["T_sun"][j]), (1 - s["sunlit"][j], s["T_shade"][j])):
            gained += column.layer_lai * share * column.chi * eps * (incident - 2 * SIGMA * t**4)
    assert s["longwave_in"] - s["longwave_out"] == pytest.approx(gained, abs=1e-9)


@each_case
def test_two_stream_equations(solved, name):
    column, made, s = solved[name]["column"], solved[name]["made"], solved[name]
    n, k, omega, caught = column.n, column.k, column.p["leaf_clumping_factor"], column.intercepted
    tau_d = 1.0 - caught
    for band in ("par", "nir"):
        rho, tau = column.p[band + "_reflect"], column.p[band + "_trans"]
        b, beam = column.bands[band], column.split[band + "_beam"]
        down, up = b["down"], b["up"]
        for j in range(n):
            above = beam * math.exp(-k * omega * column.layer_lai * (n - 1 - j))
            x = above * (1 - math.exp(-k * omega * column.layer_lai))
            t, r = tau_d + caught * tau, caught * rho
            assert down[j] == pytest.approx(t * down[j + 1] + r * up[j] + tau * x, abs=1e-9)
            assert up[j + 1] == pytest.approx(t * up[j] + r * down[j + 1] + rho * x, abs=1e-9)
        assert down[n] == column.split[band + "_diffuse"]
        at_soil = beam * math.exp(-k * omega * column.forcing["lai"])
        assert up[0] == pytest.approx(column.p[band + "_soil_refl"] * (down[0] + at_soil), abs=1e-9)
    eps = column.p["ep"]
    for j in range(n):
        source = s["sunlit"][j] * s["T_sun"][j] ** 4 + (1 - s["sunlit"][j]) * s["T_shade"][j] ** 4
        scattered = 0.5 * (1 - eps) * caught
        want = (tau_d + scattered) * made["down"][j + 1] + scattered * made["up"][j] + caught * eps * SIGMA * source
        assert made["down"][j] == pytest.approx(want, abs=1e-9)


@each_case
def test_five_equations_of_every_leaf(solved, name):
    s, column = solved[name], solved[name]["column"]
    leaves, p, forcing = s["made"]["leaves"], solved[name]["column"].p, solved[name]["column"].forcing
    phi = 101.3 * 0.022624 / (273.15 * forcing["pressure"])
    for row, temperature, light in ((0, s["T_sun"], "sun"), (1, s["T_shade"], "shade")):
        rates = leaf.kinetics(temperature, column.bands["par"][light], p)
        for j in range(column.n):
            a, rd, cs, ci, gsw = (leaves[key][row, j] for key in ("A", "rd", "cs", "ci", "gsw"))
            rubisco = rates["vmax"][j] * (ci - rates["gamma"][j]) / (ci + rates["kco"][j])
            electrons = rates["j"][j] * (ci - rates["gamma"][j]) / (4 * ci + 8 * rates["gamma"][j])
            assert a == pytest.approx(min(rubisco, electrons) - rd, abs=1e-9)
            assert a == pytest.approx(gsw / 1.6 * (cs - ci), abs=1e-9)
            _, _, r_co2 = leaf.boundary_layer(temperature[j], s["T_air"][j], column.wind[j], forcing["pressure"], p)
            g = column.sides / (r_co2 * temperature[j] * phi)
            assert a == pytest.approx(g * (s["co2_air"][j] - cs), abs=1e-8)
            humidity = s["e_air"][j] / leaf.saturation_vapour_pressure(temperature[j])
            humidity = min(max(humidity, 0.01), 1.0) * column.stress
            assert gsw == pytest.approx(p["bprime"] + p["kball"] * humidity * max(a, 0.0) / cs, abs=1e-11)


@each_case
def test_energy_balance_of_every_leaf(solved, name):
    s, column = solved[name], solved[name]["column"]
    leaves, p, pressure = s["made"]["leaves"], solved[name]["column"].p, solved[name]["column"].pressure
    for row, t in ((0, s["T_sun"]), (1, s["T_shade"])):
        r_h, r_v, _ = leaf.boundary_layer(t, s["T_air"][: column.n], column.wind, pressure, p)
        density = 28.97 * pressure / (8.314 * s["T_air"][: column.n])
        faces = r_v if column.sides == 1 else 0.5 * r_v
        sensible = 2 * density * 1005 * (t - s["T_air"][: column.n]) / r_h
        deficit = leaf.saturation_vapour_pressure(t) - s["e_air"][: column.n]
        latent = 0.622 * density * (3149000 - 2370 * s["T_air"][: column.n]) * deficit / (1000 * pressure)
        latent = latent / (faces + 1 / leaves["gs"][row])
        emitted = 2 * column.chi * p["ep"] * SIGMA * t**4
        np.testing.assert_allclose(s["made"]["absorbed"][row], emitted + sensible + latent, rtol=0, atol=1e-7)


@each_case
def test_soil_surface_balance(solved, name):
    s, column = solved[name], solved[name]["column"]
    p, k, t_s, site = column.p, min(1, solved[name]["column"].n - 1), s["soil_surface_temperature"], column.site
    z = (k + 1) * site["canopy_height"] / column.n
    delta = 49.0 * z * (t_s - s["T_air"][k]) / (s["T_air"][k] * column.wind[k] ** 2)
    if delta > 0:
        f = max((1 + delta) ** -0.75, 0.1)
    else:
        f = (1 + delta) ** -2 if delta > -1 / 3 else min(-6.75 * delta, 5.0)
    r_h = math.log(z / p["soil_roughness"]) ** 2 / (0.16 * column.wind[k]) * f
    r_h = min(max(r_h, p["soil_resistance_min"]), p["soil_resistance_max"])
    sensible = column.density * 1005 * (t_s - s["T_air"][k]) / r_h
    vapour = 0.622 * column.density * (3149000 - 2370 * s["T_air"][k]) / (1000 * column.pressure)
    latent = vapour * (soil.saturation_vapour_pressure(t_s) - s["e_air"][k]) / (r_h + column.r_surface)
    emitted = p["epsoil"] * SIGMA * t_s**4
    assert s["made"]["soil_absorbed"] == pytest.approx(emitted + sensible + latent + s["G"], abs=1e-7)
    conducted = column.k_over_l * (t_s - column.forcing["soil_temperature"] - 273.15)
    assert s["G"] == pytest.approx(conducted + column.storage, abs=1e-7)


@each_case
def test_profiles_and_stability(solved, name):
    s, column, f = solved[name], solved[name]["column"], solved[name]["column"].forcing
    p, leaves, matrix, made = column.p, s["made"]["leaves"], case_dispersion(name), s["made"]
    zeta = s["zeta"]
    psi = 1 - p["stability_stable"] * zeta
    if zeta < 0:
        psi = p["stability_unstable"] / (p["stability_unstable"] - zeta)
    u_star = max(f["friction_velocity"], 0.1)
    above = s["T_air"][column.n]
    molar = 1000 * f["pressure"] / (8.314 * column.t_ref)
    scalars = (
        ("T_air", column.t_ref, "H", 1.0, made["surface"]["H"], molar * 0.02897 * 1005),
        ("e_air", column.e_ref, "LE", 1.0, made["surface"]["LE"], (3149000 - 2370 * above) * 0.01801 / 8.314 / above),
        ("co2_air", f["co2"], "A", -1.0, s["soil_respiration"], molar),
    )
    for profile, reference, flux, sign, from_soil, factor in scalars:
        for i in range(column.levels):
            total = matrix[i][0] * from_soil
            for j in range(column.n):
                q = s["sunlit"][j] * leaves[flux][0, j] + (1 - s["sunlit"][j]) * leaves[flux][1, j]
                total += matrix[i][j] * sign * q * f["lai"] / column.n
            assert s[profile][i] == pytest.approx(reference + psi * total / (u_star * factor), abs=2e-9)
        assert s[profile][-1] == pytest.approx(reference, abs=1e-9)
    lever = column.site["measurement_height"] - 0.6 * column.site["canopy_height"]
    free = -0.4 * 9.8 * lever * s["H"] / (column.density * 1005 * column.t_ref * u_star**3)
    assert zeta == pytest.approx(min(max(free, -3.0), 0.25), abs=1e-9)


@each_case
def test_carbon_totals(solved, name):
    s = solved[name]
    respired = s["NEE"] - s["nee_published"]
    assert respired == pytest.approx(s["made"]["total"]["rd"], abs=1e-12) and respired > 0
    assert s["GPP"] - s["soil_respiration"] == pytest.approx(-s["nee_published"], abs=1e-12)


@pytest.mark.parametrize("options", [{"shift": 6.0, "relaxation": 0.05}, {"shift": -6.0, "relaxation": 0.2}])
@each_case
def test_same_solution_from_other_starts_and_steps(solved, name, options):
    other = solution(name, **options)
    for key in (*FLUXES, "T_sun", "T_shade", "T_air", "co2_air"):
        np.testing.assert_allclose(other[key], solved[name][key], rtol=0, atol=2e-8, err_msg=key)
    assert other["passes"] != solved[name]["passes"]


def test_the_cases_span_the_conditions(solved):
    s = solved
    assert {c["site"]["n_layers"] for c in CASES.values()} == {1, 50}
    assert len({c["site"]["leaf_angle"] for c in CASES.values()}) == 6
    assert {c["site"]["stomata"] for c in CASES.values()} == {"hypostomatous", "amphistomatous"}
    assert {c["site"]["soil_respiration"] for c in CASES.values()} == {"q10", "alfalfa"}
    assert s["unstable"]["zeta"] == pytest.approx(-3, abs=1e-9) and s["stable"]["zeta"] == pytest.approx(0.25, abs=1e-9)
    assert -3 < s["day"]["zeta"] < 0 < s["night"]["zeta"] < 0.25
    assert 0 < s["dawn"]["sin_beta"] < 0.1 and s["dusk"]["sin_beta"] < 0 < s["dusk"]["shortwave_in"]
    assert s["dusk"]["longwave_in"] == 341.5
    assert CASES["stable"]["forcing"]["wind_speed"] < DEFAULTS["wind_floor"]
    assert s["low light"]["column"].split["q"] == 0.22 and 0.22 < s["freezing"]["column"].split["q"] < 0.89
    limits = [x["made"]["leaves"]["A_rubisco"] < x["made"]["leaves"]["A_light"] for x in s.values()]
    assert any(m[0].all() and not m[1].any() for m in limits) and any(m.all() for m in limits)
    assert s["stable"]["made"]["leaves"]["h"].max() == 1.0 and s["stable"]["made"]["leaves"]["LE"].min() < 0
    delta = {name: x["made"]["surface"]["delta"] for name, x in s.items()}
    assert -20 / 27 < delta["dusk"] < -1 / 3 < delta["night"] < 0 < delta["day"]
    viscosity = 13.27e-6 * 101.3 / 85.6 * (s["high wind"]["T_air"][49] / 273.16) ** 1.81
    assert 0.04 * s["high wind"]["column"].wind[-1] / viscosity > 16190
    assert s["freezing"]["T_sun"].max() < 273 < 318 < s["hot dry"]["T_sun"].min()


def test_stomata_close_with_stress_and_a_stress_per_layer_is_taken():
    case, matrix = CASES["hot dry"], case_dispersion("hot dry")
    free = solve_half_hour(case["forcing"], case["site"], {}, matrix)
    whole = solve_half_hour(case["forcing"], case["site"], {}, matrix, 0.4)
    layers = solve_half_hour(case["forcing"], case["site"], {}, matrix, np.full(50, 0.4))
    assert whole["GPP"] < free["GPP"] - 0.1 and whole["LE"] < free["LE"]
    assert layers["LE"] == pytest.approx(whole["LE"], abs=1e-12)


def test_a_step_too_few_is_an_error_and_an_unknown_parameter_too():
    with pytest.raises(RuntimeError, match="no convergence in 20 passes"):
        solution("night", max_passes=20)
    with pytest.raises(ValueError, match="unknown parameters"):
        Column(WEATHER, CASES["night"]["site"], {"vcmax": 3.0}, case_dispersion("night"))
    with pytest.raises(ValueError, match="dispersion must have shape"):
        Column(WEATHER, CASES["night"]["site"], {}, case_dispersion("day"))


WORKED_LEAVES = [  # sides, absorbed PAR, CO2, leaf T, r_co2, P, e_air, parameters -> A, g_sw, c_i, c_s
    (1, 1000, 400, 298.16, 30, 101.3, 1500, {}, 25.789752, 0.31200429, 248.63997, 380.89329),
    (2, 1000, 400, 298.16, 30, 101.3, 1500, {}, 26.054523, 0.30828257, 255.12445, 390.34856),
    (2, 60, 400, 295.0, 80, 101.3, 1400, {}, 2.1989713, 0.07414816, 350.40051, 397.85083),
    (1, 1800, 400, 303.15, 25, 101.3, 2200, {"vcopt": 40.0, "jmopt": 120.0},
     10.071805, 0.15849167, 292.00116, 393.67773),
    (2, 1500, 380, 316.15, 20, 101.3, 1300, {}, 3.5543262, 0.061552136, 286.67733, 379.06928),
    (2, 300, 390, 290.15, 120, 84.5, 2100, {}, 10.703261, 0.28538638, 311.4912, 371.49833),
    (1, 300, 430, 306.15, 95, 101.3, 800, {}, 9.1914067, 0.079318815, 222.45161, 407.85845),
    (2, 190, 400, 314.15, 65, 101.3, 900, {}, 5.3981542, 0.062930672, 258.18806, 395.43507),
]  # fmt: skip


@pytest.mark.parametrize("row", WORKED_LEAVES)
def test_worked_leaves(row):
    sides, par, ca, t, r_co2, pressure, e_air, changes, a, gsw, ci, cs = row
    p = DEFAULTS | changes
    x = leaf.photosynthesis(np.array([t]), np.array([float(par)]), e_air, ca, r_co2, pressure, sides, 1.0, p)
    for key, want in (("A", a), ("gsw", gsw), ("ci", ci), ("cs", cs)):
        assert x[key][0] == pytest.approx(want, rel=5e-8)


def test_worked_leaf_temperature():
    heat, vapour = np.array([59.490713]), np.array([0.12459288])
    t = leaf.bisect_leaf_temperature(np.array([1250.0]), 1.0, np.array([298.15]), 1500.0, heat, vapour, 0.98)
    assert t[0] == pytest.approx(299.86304, abs=1e-5)


def test_worked_soil_wind_boundary_layer_and_projection():
    p = DEFAULTS
    assert soil.conductivity(0.07966999999999990, 295.97, 101.18, p) == pytest.approx(0.1753550622, rel=1e-9)
    assert soil.conductivity(0.073, 291.55, 100.88, p) == pytest.approx(0.1564184144, rel=1e-9)
    assert soil.vapour_resistance(0.073, p) == pytest.approx(4427.4284499, rel=1e-10)
    half = p | {"respiration_depth_fraction": 1.0}
    assert soil.respiration("q10", 0.0, 295.0, 0.25, 0.8, 0.0, 0.0, half) == pytest.approx(3.0931713797, rel=1e-10)
    assert soil.respiration("alfalfa", 0.0, 295.0, 0.25, 0.8, 20.0, 2.0, half) == pytest.approx(7.6801812851, rel=1e-10)
    assert leaf.wind_profile(3.0, 0.8, 5.0, 4, p)[0] == pytest.approx(0.23002402, rel=1e-7)
    cool = leaf.boundary_layer(290.15, 295.15, 0.5, 85.0, p)
    assert cool == pytest.approx((53.246752, 48.058762, 65.214112), rel=1e-7)
    exact = {
        "erectophile": (0.42442, 0.50876), "spherical": (0.5, 0.5), "planophile": (0.84879, 0.47288),
        "plagiophile": (0.67904, 0.47245), "extremophile": (0.59418, 0.50919), "uniform": (0.63661, 0.49082),
    }  # fmt: skip
    for name, (overhead, slant) in exact.items():
        weights = radiation.leaf_angle_weights(name)
        assert radiation.projection(math.radians(0.5), weights) == pytest.approx(overhead, abs=6e-5)
        assert radiation.projection(math.radians(60.0), weights) == pytest.approx(slant, abs=6e-5)
    sine = radiation.sine_of_elevation(182, 12.5, 38.0991538, -121.49933, -8)
    assert sine == pytest.approx(0.9632488498, abs=3e-6)


def test_worked_split_and_sky():
    noon = radiation.split(900.0, 101.0, 0.9632488498)
    assert noon["q"] == pytest.approx(0.8625587391, rel=1e-8)
    assert noon["par_beam"] == pytest.approx(1640.502942, rel=1e-8)
    assert noon["nir_beam"] == pytest.approx(331.9118725, rel=1e-8)
    low = radiation.split(30.0, 101.0, 0.100787306)
    assert (low["par_beam"], low["nir_beam"]) == pytest.approx((6.692091428, 1.620071294), rel=1e-8)
    assert radiation.sky_longwave(298.15, noon["q"], 0.9632488498) == pytest.approx(385.9815005, rel=1e-9)
    assert radiation.sky_longwave(291.15, 0.3, -0.4) == pytest.approx(333.8504323, rel=1e-9)


WORKED_BANDS = [  # optics; beam, diffuse; D on levels; U on levels
    ((0.05, 0.05, 0.05), 1640.502942, 429.4970584,
     (74.68282003, 114.1227495, 176.0146347, 273.8005768, 429.4970584),
     (22.57857388, 23.93689261, 29.82108854, 40.76883318, 58.31582138)),
    ((0.60, 0.20, 0.10), 331.9118725, 118.0881275,
     (80.55575268, 108.1410399, 128.1869209, 134.921669, 118.0881275),
     (15.68090875, 59.3398136, 101.8292162, 144.0224292, 185.5232773)),
]  # fmt: skip


@pytest.mark.parametrize("band", WORKED_BANDS)
def test_worked_shortwave(band):
    (rho, tau, soil_rho), beam, diffuse, down, up = band
    k, caught = 0.4971068215 / 0.9632488498, 1.0 - 0.5543326712
    x = radiation.shortwave_band(4, 0.75, beam, diffuse, k, 0.95, caught, caught / 0.75, rho, tau, soil_rho)
    np.testing.assert_allclose(x["down"], down, rtol=1e-8)
    np.testing.assert_allclose(x["up"], up, rtol=1e-8)


def test_worked_longwave():
    caught = 1.0 - 0.5543326712
    emitted = [caught * j for j in (435.8231646, 440.8531622, 447.2830521, 455.9373587)]
    matrix = radiation.transfer_matrix(4, 1.0 - caught + 0.01 * caught, 0.01 * caught, 0.02)
    down, up = radiation.solve_transfer(matrix, 385.9815005, 0.98 * SIGMA * 304.15**4, emitted, emitted)
    np.testing.assert_allclose(down, (443.6650387, 442.5174112, 436.5916877, 420.9193313, 385.9815005), rtol=1e-9)
    np.testing.assert_allclose(up, (484.4149146, 466.8901937, 459.312863, 457.8744766, 460.7719569), rtol=1e-9)


def test_worked_convection():
    p = DEFAULTS | {"lleaf": 0.1}
    turbulent = leaf.boundary_layer(300.15, 300.15, 8.0, 101.3, p)
    assert turbulent == pytest.approx((16.072812, 14.50679, 19.685223), rel=1e-7)
    p = DEFAULTS
    still = leaf.boundary_layer(305.15, 300.15, 0.0, 101.3, p)[0]
    grashof = 59332.939
    assert still == pytest.approx(258.92437 * grashof**0.25 / ((grashof + 1) ** 0.25 - 1), rel=1e-7)
    forced = leaf.boundary_layer(300.15, 300.15, 0.1, 101.3, p)[0]
    assert forced == pytest.approx(128.01796, rel=1e-7)
    both = leaf.boundary_layer(305.15, 300.15, 0.1, 101.3, p)[0]
    assert both**-3 == pytest.approx(forced**-3 + still**-3, rel=1e-12)


def test_kinetics_are_held_outside_their_range_and_the_humidity_has_a_floor():
    hot, cold = (leaf.kinetics(np.array([t]), np.array([500.0]), DEFAULTS) for t in (345.0, 240.0))
    for held, edge in ((hot, 330.0), (cold, 255.0)):
        at_edge = leaf.kinetics(np.array([edge]), np.array([500.0]), DEFAULTS)
        assert all(held[key] == at_edge[key] for key in held)
    dry = leaf.photosynthesis(np.array([310.0]), np.array([900.0]), 5.0, 400.0, 40.0, 101.3, 1, 0.5, DEFAULTS)
    assert dry["h"][0] == 0.005
