"""Assimilation and stomatal conductance together: printed solutions, bisection, the published cubic and its defects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canveg_jax import Parameters
from canveg_jax.physics import gas_exchange as stomata
from canveg_jax.physics.conductance import Stomata
from canveg_jax.physics.photosynthesis import kinetics
from canveg_jax.physics.thermodynamics import molar_conversion, saturation_vapour_pressure
from tests.independent import leaf
from tests.independent.column import DEFAULTS
from tests.physics import published_leaf
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error


def exchange(t, light, ca, r_co2, pressure, vapour, sides, p, smooth=False):
    """Gas exchange of a leaf whose boundary layer has resistance `r_co2` (s m-1) to CO2 on each face."""
    humidity = jnp.clip(vapour / saturation_vapour_pressure(t), 0.01, 1.0)
    boundary = sides / (r_co2 * t * molar_conversion(pressure))
    return stomata.gas_exchange(kinetics(t, light, p), ca, boundary, Stomata(p.bprime, p.kball * humidity), smooth)


solve = jax.jit(exchange, static_argnums=(8,))

WORKED = [  # sides, I, ca, T, r_co2, P, e_a, changes; hard: A, g_sw, ci, cs; smooth: A, g_sw
    (1, 1000, 400, 298.16, 30, 101.3, 1500, {}, 25.789752, 0.31200429, 248.63997, 380.89329, 25.2422, 0.30616875),
    (2, 1000, 400, 298.16, 30, 101.3, 1500, {}, 26.054523, 0.30828257, 255.12445, 390.34856, 25.506251, 0.30271597),
    (1, 60, 400, 295, 80, 101.3, 1400, {}, 2.1950373, 0.074235407, 348.3996, 395.70936, 2.1930338, 0.074213047),
    (2, 60, 400, 295, 80, 101.3, 1400, {}, 2.1989713, 0.07414816, 350.40051, 397.85083, 2.1969641, 0.074125998),
    (1, 0, 420, 288.15, 90, 101.3, 1100, {}, -0.46755194, 0.05, 435.96595, 421.00429, -0.46755194, 0.05),
    (2, 0, 420, 288.15, 90, 101.3, 1100, {}, -0.46755194, 0.05, 435.46381, 420.50215, -0.46755194, 0.05),
    (1, 1800, 400, 303.15, 25, 101.3, 2200, {"vcopt": 40.0, "jmopt": 120.0},
     10.071805, 0.15849167, 292.00116, 393.67773, 9.8888118, 0.15648942),
    (2, 1500, 380, 316.15, 20, 101.3, 1300, {}, 3.5543262, 0.061552136, 286.67733, 379.06928, 3.5208006, 0.061442908),
    (1, 800, 400, 276.15, 40, 101.3, 600, {}, 7.960678, 0.18106137, 322.37, 392.71678, 7.8802796, 0.17971343),
    (2, 300, 390, 290.15, 120, 84.5, 2100, {}, 10.703261, 0.28538638, 311.4912, 371.49833, 10.6466, 0.28407856),
    (1, 150, 400, 300.15, 12, 101.3, 2400, {}, 5.5644151, 0.12689518, 328.17923, 398.34, 5.550978, 0.12670872),
    (1, 12, 410, 308.15, 60, 101.3, 2000, {"bprime": 0.01, "kball": 9.5},
     -0.024654397, 0.01, 413.98246, 410.03776, -0.024801322, 0.01),
    (1, 300, 430, 306.15, 95, 101.3, 800, {}, 9.1914067, 0.079318815, 222.45161, 407.85845, 9.0981154, 0.079005251),
    (2, 190, 400, 314.15, 65, 101.3, 900, {}, 5.3981542, 0.062930672, 258.18806, 395.43507, 4.862599, 0.061634484),
    (1, 940, 420, 310.15, 65, 101.3, 800, {}, 10.050048, 0.07600239, 191.64555, 403.21886, 9.9118844, 0.075630256),
]  # fmt: skip
STEP = 0.4
"""Published factor of light inhibition above 10 umol m-2 s-1, which the printed solutions contain."""


def with_step(light: float, changes: dict) -> Parameters:
    """Parameters whose logistic of respiration equals the published step at this light."""
    return Parameters(light_inhibition=1 - STEP if light > 10 else 0.0, light_inhibition_par=-1e3, **changes)


@pytest.mark.parametrize("row", WORKED)
def test_worked_solutions(row):
    sides, light, ca, t, r_co2, pressure, vapour, changes, *expected = row
    p = with_step(light, changes)
    x = solve(t, float(light), float(ca), float(r_co2), pressure, float(vapour), sides, p)
    made = [float(v) for v in (x.net, x.conductance, x.ci, x.cs)]
    assert made == pytest.approx(expected[:4], rel=6e-8)
    y = solve(t, float(light), float(ca), float(r_co2), pressure, float(vapour), sides, p, True)
    assert [float(y.net), float(y.conductance)] == pytest.approx(expected[4:], rel=6e-8)


WORKED_DERIVATIVES = [  # row of WORKED, smooth; d A by I, ca, T, r_co2, e_a, kball, bprime, vcopt, jmopt
    (0, False, 0.012743117, 0.02794251, 0.19953988, -0.017796318, 0.0029203509, 0.53617214, 16.719292, -0.0017638551,
     0.046248649),
    (0, True, 0.01188682, 0.028452791, 0.14258337, -0.017736571, 0.0029464268, 0.54095963, 17.252846, 0.0046032257,
     0.043140886),
    (1, False, 0.013018827, 0.027204471, 0.21550489, -0.0087520742, 0.002894902, 0.53149975, 16.812412, -0.0017839266,
     0.047249284),
    (1, True, 0.012165568, 0.027731332, 0.15916612, -0.0087338339, 0.0029230239, 0.5366629, 17.349659, 0.0045361126,
     0.044152547),
    (2, False, 0.039607274, 0.0018388654, -0.022344716, -9.862387e-05, 2.1110703e-05, 0.0036175012, 1.2194961,
     -0.0015311193, 4.4623698e-05),
    (4, False, 0.044329596, 0, -0.02573749, 0, 0, 0, 0, -0.0027342219, 0),
    (6, False, 0, 0.022149037, -0.8275431, -0.0056012884, 0.00085120661, 0.22921108, 17.260815, 0.22671831, 0),
    (6, True, 1.6308942e-05, 0.021287182, -0.78474664, -0.005285524, 0.00080666412, 0.21721678, 16.665139, 0.21435685,
     0.0026648902),
    (13, False, 0.022696632, 0.0080163993, -0.15985265, -0.00056298897, 0.00027047707, 0.029795515, 18.825732,
     -0.0033283559, 0.0026141393),
    (13, True, 0.011160313, 0.010314674, -0.5094694, -0.00065252806, 0.00029057644, 0.032009645, 22.477902,
     0.0072684634, 0.001285416),
]  # fmt: skip


@pytest.mark.parametrize("smooth", [False, True])
def test_worked_derivatives(smooth):
    @jax.jit
    def gradient(t, light, ca, r_co2, pressure, vapour, sides, inhibition, tuned):
        def f(t, light, ca, r_co2, vapour, tuned):
            p = Parameters().replace(tuned | {"light_inhibition": inhibition, "light_inhibition_par": -1e3})
            return exchange(t, light, ca, r_co2, pressure, vapour, sides, p, smooth).net

        return jax.grad(f, argnums=tuple(range(6)))(t, light, ca, r_co2, vapour, tuned)

    for row, is_smooth, *expected in WORKED_DERIVATIVES:
        if is_smooth is not smooth:
            continue
        sides, light, ca, t, r_co2, pressure, vapour, changes, *_ = WORKED[row]
        tuned = {name: changes.get(name, DEFAULTS[name]) for name in ("kball", "bprime", "vcopt", "jmopt")}
        inhibition = 0.6 if light > 10 else 0.0
        numbers = [float(v) for v in (t, light, ca, r_co2, pressure, vapour)]
        by_t, by_i, by_ca, by_r, by_e, by_p = gradient(*numbers, sides, inhibition, tuned)
        made = [by_i, by_ca, by_t, by_r, by_e, by_p["kball"], by_p["bprime"], by_p["vcopt"], by_p["jmopt"]]
        assert [float(v) for v in made] == pytest.approx(expected, rel=1e-6, abs=1e-12), row


def grid(n: int, seed: int) -> dict[str, np.ndarray]:
    """Random leaves over the whole range of the published stress test (260 to 325 K, dark to bright, dry to wet)."""
    rng = np.random.default_rng(seed)
    light = np.where(rng.random(n) < 0.15, 0.0, rng.uniform(0, 2000, n) ** rng.uniform(0.3, 1, n))
    t = rng.uniform(260, 325, n)
    return {
        "t": t, "light": light, "ca": rng.uniform(300, 600, n), "r_co2": np.exp(rng.uniform(np.log(5), np.log(400), n)),
        "pressure": rng.uniform(80, 103, n), "vapour": rng.uniform(0.02, 1.1, n) * leaf.saturation_vapour_pressure(t),
    }  # fmt: skip


@pytest.mark.parametrize("bprime", [0.05, 1e-3])
@pytest.mark.parametrize("sides", [1, 2])
def test_against_bisection_of_the_five_equations(sides, bprime):
    x = grid(20_000, sides)
    changes = {"bprime": bprime, "kball": 12.0 if bprime < 0.05 else 8.17}
    made = solve(*x.values(), sides, Parameters(**changes))
    slow = leaf.photosynthesis(
        x["t"], x["light"], x["vapour"], x["ca"], x["r_co2"], x["pressure"], sides, 1.0, DEFAULTS | changes
    )
    assert np.abs(np.asarray(made.net) - slow["A"]).max() < 1e-10
    assert np.abs(np.asarray(made.conductance) - slow["gsw"]).max() < 1e-10
    assert np.abs(np.asarray(made.cs) - slow["cs"]).max() < 1e-8
    positive = slow["A"] > 0
    assert 0.3 < positive.mean() < 0.95 and (slow["A_rubisco"] < slow["A_light"]).mean() > 0.05


def test_smooth_co_limitation_against_bisection(p):
    """Both rates joined by the quadratic of curvature 0.98, solved by 200 halvings."""
    x = grid(4000, 5)
    made = np.asarray(solve(*x.values(), 1, p, True).net)
    k = leaf.kinetics(x["t"], x["light"], DEFAULTS)
    g = 1 / (x["r_co2"] * x["t"] * 101.3 * 0.022624 / (273.15 * x["pressure"]))
    b = 0.05 / 1.6
    kappa = 8.17 / 1.6 * np.clip(x["vapour"] / leaf.saturation_vapour_pressure(x["t"]), 0.01, 1)
    low, high = np.full(4000, -20.0), 0.999999 * g * x["ca"]
    for _ in range(200):
        a = 0.5 * (low + high)
        cs = x["ca"] - a / g
        ci = np.maximum(cs - a / (b + kappa * np.maximum(a, 0) / cs), 0.0)
        vc, vj = k["vmax"] / (ci + k["kco"]), k["j"] / (4 * ci + 8 * k["gamma"])
        v = published_leaf.smaller_root(0.98, vc, vj)
        more = (ci - k["gamma"]) * v - k["rd"] > a
        low, high = np.where(more, a, low), np.where(more, high, a)
    assert np.abs(made - low).max() < 1e-7
    hard = np.asarray(solve(*x.values(), 1, p).net)
    assert np.all(made <= hard + 1e-9)


def published_inputs(record, p) -> published_leaf.Leaf:
    t, pressure = record.given("Tlk"), record.given("P_kPa")[:, None]
    light = record.given("Iphoton")
    k = jax.tree.map(np.asarray, kinetics(t, light, Parameters(light_inhibition=0.0)))
    humidity = record.given("eair_Pa") / np.asarray(saturation_vapour_pressure(t))
    conductance = 1 / (record.given("rb_co2") * t * np.asarray(molar_conversion(pressure)))
    dark = np.where(light > 10, STEP, 1.0) * k.dark_respiration
    return published_leaf.Leaf(
        k.vm, k.kco, k.j, k.gamma, dark, conductance, record.given("cca"), humidity, float(p.kball), float(p.bprime)
    )


@pytest.mark.parametrize("leaf_class", ["sun", "shade"])
@pytest.mark.parametrize(("kind", "sides"), [("hypo", 1), ("amphi", 2)])
def test_published_numbers_are_the_package_plus_the_numbered_defects(published, p, leaf_class, kind, sides):
    """The published rules on the package's kinetics and conductances give the published leaf to 1e-8."""
    record = published(f"leaf_ps_{leaf_class}")
    x = published_inputs(record, p)
    made = published_leaf.photosynthesis(x, sides)
    to_velocity = record.given("Tlk") * np.asarray(molar_conversion(record.given("P_kPa")))[:, None]
    assert np.abs(made["net"] - record.made(f"{kind}_aphoto")).max() < 1e-8
    assert relative_error(made["g_sw"] * to_velocity, record.made(f"{kind}_gs_m_s")) < 1e-8
    assert relative_error(np.minimum(x.humidity, 1), record.made(f"{kind}_Leaf_RH")) < 1e-12


@pytest.mark.parametrize("leaf_class", ["sun", "shade"])
@pytest.mark.parametrize("sides", [1, 2])
def test_exact_cubic_gives_the_package(published, p, leaf_class, sides):
    """Published cubic without its defects (smallest positive root, both limits, exact coupling) is the package's answer."""
    record = published(f"leaf_ps_{leaf_class}")
    x = published_inputs(record, p)
    x = x._replace(humidity=np.clip(x.humidity, 0.01, 1.0))
    rates = kinetics(record.given("Tlk"), record.given("Iphoton"), p)._replace(dark_respiration=jnp.asarray(x.rd))
    made = stomata.gas_exchange(rates, x.ca, sides * x.g_b, Stomata(p.bprime, p.kball * x.humidity))
    rows = np.flatnonzero(np.asarray(made.net).ravel() > 0.05)[::23]
    coupling = published_leaf.exact_coupling(x, sides)
    limits = ((x.vm, np.ones_like(x.vm), x.kco), (x.j, np.full_like(x.j, 4.0), 8 * x.gamma))
    cubics = [np.broadcast_arrays(*published_leaf.cubic_coefficients(x, limit, coupling)) for limit in limits]
    assert rows.size > 25
    for row in rows:
        solutions = []
        for cubic in cubics:
            roots = np.roots([1.0, *(c.ravel()[row] for c in cubic)])
            real = roots[np.abs(roots.imag) < 1e-7 * np.abs(roots)].real
            solutions.append(real[real > 0].min())
        assert float(np.asarray(made.net).ravel()[row]) == pytest.approx(min(solutions), rel=1e-7)


leaves = {
    "t": st.floats(260, 325), "light": st.floats(0, 2200), "ca": st.floats(200, 700), "r_co2": st.floats(3, 500),
    "pressure": st.floats(60, 105), "vapour": st.floats(10, 6000),
}  # fmt: skip


@given(**leaves, sides=st.sampled_from([1, 2]))
@settings(max_examples=200)
def test_equations_and_bounds(p, sides, **x):
    made = jax.tree.map(float, solve(*x.values(), sides, p))
    k = jax.tree.map(float, _rates(x["t"], x["light"], p))
    g = sides / (x["r_co2"] * x["t"] * float(molar_conversion(x["pressure"])))
    humidity = min(max(x["vapour"] / float(saturation_vapour_pressure(x["t"])), 0.01), 1.0)
    at_air = min(k.vm / (x["ca"] + k.kco), k.j / (4 * x["ca"] + 8 * k.gamma)) * (x["ca"] - k.gamma) - k.dark_respiration
    demand = min(k.vm / (made.ci + k.kco), k.j / (4 * made.ci + 8 * k.gamma)) * (made.ci - k.gamma)
    assert made.net == pytest.approx(demand - k.dark_respiration, abs=1e-9)
    assert made.net == pytest.approx(g * (x["ca"] - made.cs), abs=1e-9)
    assert made.net == pytest.approx(made.conductance / 1.6 * (made.cs - made.ci), abs=1e-9)
    assert made.conductance == pytest.approx(0.05 + 8.17 * humidity * max(made.net, 0) / made.cs, rel=1e-12)
    assert made.conductance >= 0.05 * (1 - 1e-7)
    assert (made.net > 0) == (at_air > 0) or abs(at_air) < 1e-9
    if made.net > 0:
        assert 0 < made.ci < x["ca"]


_rates = jax.jit(kinetics)


def test_in_the_dark_a_leaf_respires(p):
    made = solve(290.0, 0.0, 400.0, 50.0, 100.0, 900.0, 1, p)
    dark = kinetics(290.0, 0.0, p).dark_respiration
    assert float(made.net) == pytest.approx(-float(dark), rel=1e-12)


def test_two_faces_are_one_face_with_half_the_resistance(p):
    x = grid(500, 11)
    both = solve(*x.values(), 2, p)
    halved = solve(*(x | {"r_co2": x["r_co2"] / 2}).values(), 1, p)
    assert all(relative_error(a, b) < 1e-9 for a, b in zip(both, halved, strict=True))


@pytest.mark.parametrize("name", ["light", "ca", "vapour"])
def test_assimilation_never_falls_with(p, name):
    """Light above the threshold of respiration's inhibition; CO2; humidity."""
    x = grid(40, 12)
    low, high = {"light": (0, 2000), "ca": (150, 900), "vapour": (50, 4000)}[name]
    values = np.linspace(low, high, 200)[:, None]
    x = {k: np.broadcast_to(v, (200, 40)) for k, v in (x | {name: values}).items()}
    net = np.asarray(solve(*x.values(), 1, p).net)
    assert np.all(np.diff(net, axis=0) > -1e-10)


def test_small_boundary_conductance_and_intercept_limits(p):
    closed = solve(300.0, 1000.0, 400.0, 1e6, 101.3, 1500.0, 1, p)
    g = 1 / (1e6 * 300.0 * float(molar_conversion(101.3)))
    assert float(closed.net) < g * 400 * (1 + 1e-9) and closed.ci > 0
    tight = solve(300.0, 1000.0, 400.0, 30.0, 101.3, 20.0, 1, Parameters(bprime=1e-3, kball=2.0))
    assert 0 < float(tight.net) < 1.0


def test_continuous_across_compensation_and_co_limitation(p):
    for name, low, high in (
        ("light", 0.0, 60.0),
        ("light", 100.0, 900.0),
        ("vapour", 20.0, 3500.0),
        ("ca", 20.0, 80.0),
    ):
        x = {"t": 300.0, "light": 25.0, "ca": 400.0, "r_co2": 40.0, "pressure": 100.0, "vapour": 1500.0}
        if name == "ca":
            x["light"] = 900.0
        x = {k: np.full(5001, v) for k, v in x.items()} | {name: np.linspace(low, high, 5001)}
        made = solve(*x.values(), 1, p)
        for output in (made.net, made.conductance):
            steps = np.abs(np.diff(np.asarray(output)))
            assert steps.max() < 4 * np.sort(steps)[-200] + 1e-9, name


@pytest.mark.parametrize("smooth", [False, True])
def test_derivatives(smooth):
    x = grid(60, 20)
    x["light"] = np.maximum(x["light"], 3.0)
    p = Parameters()
    first = jax.tree.map(np.asarray, kinetics(x["t"], x["light"], p))
    made = solve(*x.values(), 1, p)
    rubisco = first.vm * (made.ci - first.gamma) / (made.ci + first.kco)
    electrons = first.j * (made.ci - first.gamma) / (4 * made.ci + 8 * first.gamma)
    humidity = x["vapour"] / leaf.saturation_vapour_pressure(x["t"])
    smooth_region = (
        (np.abs(made.net) > 0.3) & (np.abs(rubisco - electrons) > 0.3) & (humidity < 0.97) & (humidity > 0.03)
    )
    assert smooth_region.sum() > 20
    inputs = {k: v[np.asarray(smooth_region)] for k, v in x.items()}
    n = inputs["t"].size
    inputs |= {"kball": np.full(n, 8.17), "bprime": np.full(n, 0.05), "vcopt": np.full(n, 171.0)}

    def f(t, light, ca, r_co2, pressure, vapour, **changes):
        made = exchange(t, light, ca, r_co2, pressure, vapour, 1, Parameters().replace(changes), smooth)
        return made.net + 50 * made.conductance

    errors = derivative_error(f, inputs, 1e-5)
    assert max(errors.values()) < 2e-6, errors


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_gradients_are_finite_at_the_edges(dtype):
    """Dark, saturated, dry, tiny capacity and intercept, and a coupling that cancels the cubic's leading term."""
    gradient = jax.jit(
        jax.grad(lambda x, c: sum(exchange(*x, 1, Parameters().replace(c))[:2]), argnums=(0, 1)), static_argnums=()
    )
    base = {"t": 300.0, "light": 800.0, "ca": 400.0, "r_co2": 40.0, "pressure": 101.3, "vapour": 1500.0}
    saturation = float(saturation_vapour_pressure(300.0))
    g = 1 / (40.0 * 300.0 * float(molar_conversion(101.3)))
    cancelling = 1.6 * (1 + 0.05 / 1.6 / g) / 8.17
    edges = [
        ({"light": 0.0}, {}), ({"vapour": saturation}, {}), ({"vapour": 2 * saturation}, {}), ({"vapour": 1.0}, {}), ({}, {}),
        ({}, {"vcopt": 1.0}), ({}, {"bprime": 5e-5}), ({"vapour": cancelling * saturation}, {}), ({"light": 10.0}, {}),
        ({"t": 255.0}, {}), ({"t": 340.0}, {}), ({"light": 0.0}, {"bprime": 5e-5, "kball": 20.0}),
    ]  # fmt: skip
    default = {name: DEFAULTS[name] for name in ("vcopt", "bprime", "kball", "jmopt", "qalpha")}
    for leaf_change, change in edges:
        x = tuple(dtype(v) for v in (base | leaf_change).values())
        assert all_finite(gradient(x, {k: dtype(v) for k, v in (default | change).items()})), (leaf_change, change)


def test_single_precision(p):
    x = grid(3000, 30)
    boundary = 1 / (x["r_co2"] * x["t"] * np.asarray(molar_conversion(x["pressure"])))
    k = jax.tree.map(np.asarray, kinetics(x["t"], x["light"], p))
    humidity = np.clip(x["vapour"] / leaf.saturation_vapour_pressure(x["t"]), 0.01, 1)

    def f(rates, ca, g, h, slope, intercept):
        made = stomata.gas_exchange(rates, ca, g, Stomata(intercept, slope * h))
        return made.net, made.conductance, made.cs

    assert precision_error(jax.jit(f), k, x["ca"], boundary, humidity, 8.17, 0.05) < 2e-5
