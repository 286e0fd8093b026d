"""Energy balance of the soil surface: bisection, time steps of the soil column, the published expansions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canveg_jax.physics.soil_surface import SoilInputs, soil_surface_balance, stability_factor, surface_fluxes
from tests.independent import soil
from tests.independent.column import DEFAULTS
from tests.physics.checks import all_finite, derivative_error, precision_error, relative_error

SIGMA = 5.670367e-8
balance, fluxes_at = jax.jit(soil_surface_balance), jax.jit(surface_fluxes)


def inputs(
    absorbed=800.0, air=296.0, vapour=1000.0, wind=0.26, height=0.032, pressure=101.18, reference=295.97,
    vapour_resistance=4300.0, conductance=1.17, deep=300.4, storage=0.0,
) -> SoilInputs:  # fmt: skip
    density = 28.97 * pressure / (8.314 * reference)
    numbers = (
        absorbed, 0.98, air, vapour, wind, height, pressure, density, vapour_resistance, conductance, storage, deep, 0.02, 25.0,
        1000.0,
    )  # fmt: skip
    return SoilInputs(*(jnp.asarray(v, float) for v in numbers))


def emission(x: SoilInputs, t):
    return x.emissivity * SIGMA * t**4


def test_worked_sensible_heat():
    """Published `H = k_c (T_s - T_a)` at the printed surface temperature and lagged stability argument."""
    first = fluxes_at(305.748471, inputs(height=0.032, wind=0.2637836598, air=295.97))
    # The lagged surface was as warm as the air; the resistance sits at its floor either way.
    assert float(first.sensible_heat) == pytest.approx(468.255039, rel=3e-8)
    density = 28.97 * 100.0 / (8.314 * 296.15)
    assert density == pytest.approx(1.17659429, rel=1e-8)
    delta = 49.0 * 0.032 * (303.0 - 297.6) / (297.6 * 0.30**2)
    assert delta == pytest.approx(0.31612903, rel=1e-8)
    resistance = max(math.log(1.6) ** 2 / (0.16 * 0.30) * float(stability_factor(delta)), 25.0)
    assert 1005 * density / resistance * (299.80638187 - 297.6) == pytest.approx(104.35985623, rel=1e-8)


def test_stability_factor_is_the_published_one_down_to_a_third():
    delta = np.linspace(-1 / 3, 60, 3001)
    published = np.clip((1 + delta) ** np.where(delta > 0, -0.75, -2.0), 0.1, 5.0)
    assert np.asarray(stability_factor(delta)) == pytest.approx(published, rel=1e-13)
    assert float(stability_factor(-5.27428171)) == 5.0  # the published one is 0.1 here, the smallest


def test_stability_factor_is_continuous_and_monotone():
    delta = np.linspace(-3, 30, 400_001)
    f = np.asarray(stability_factor(delta))
    assert np.all(np.diff(f) <= 0) and np.abs(np.diff(f)).max() < 7 * (delta[1] - delta[0])
    assert f[0] == 5 and f[-1] == 0.1
    at = float(stability_factor(-1 / 3)), float(stability_factor(-1 / 3 - 1e-9))
    assert at == pytest.approx((2.25, 2.25), abs=1e-7)


def test_stable_heat_flux_never_falls_as_the_surface_cools():
    """On the tangent the downward heat flux is constant; the published factor would let it decrease."""
    x = inputs(air=290.0, wind=0.3)._replace(resistance_min=jnp.asarray(1e-3), resistance_max=jnp.asarray(1e6))
    t = np.linspace(240.0, 290.0, 5001)
    heat = np.asarray(fluxes_at(t, x).sensible_heat)
    assert np.all(np.diff(heat) > -1e-10) and heat[-1] == 0


@pytest.mark.parametrize("wind", [0.04, 0.3, 2.0])
@pytest.mark.parametrize("height", [0.03, 0.4, 6.0])
def test_the_balance_has_one_root(wind, height):
    x = inputs(wind=wind, height=height, conductance=0.8)
    t = np.linspace(216, 416, 20_001)
    f = fluxes_at(t, x)
    lost = np.asarray(emission(x, t) + f.sensible_heat + f.latent_heat + f.ground_heat)
    assert np.all(np.diff(lost) > 0)


weather = {
    "absorbed": st.floats(150, 1300), "air": st.floats(255, 318), "humidity": st.floats(0.05, 1.05),
    "wind": st.floats(0.03, 4), "height": st.floats(0.025, 8), "pressure": st.floats(70, 103),
    "vapour_resistance": st.floats(10, 6000), "conductance": st.floats(0.3, 12), "deep": st.floats(268, 305),
}  # fmt: skip


@given(**weather, offset=st.floats(-30, 30))
@settings(max_examples=200)
def test_against_bisection(humidity, offset, **changes):
    vapour = humidity * soil.saturation_vapour_pressure(changes["air"])
    x = inputs(vapour=vapour, reference=changes["air"], **changes)
    made = balance(changes["air"] + offset, x)
    slow = soil.bisect_surface(
        changes["absorbed"], changes["air"], vapour, changes["wind"], changes["height"], changes["deep"], changes["air"],
        changes["pressure"], changes["vapour_resistance"], changes["conductance"], DEFAULTS,
    )  # fmt: skip
    assert float(made.temperature) == pytest.approx(slow["T"], abs=1e-8)
    made_fluxes = [float(v) for v in made[1:]]
    assert made_fluxes == pytest.approx([slow["H"], slow["LE"], slow["G"]], abs=1e-6)
    closure = changes["absorbed"] - float(emission(x, made.temperature)) - sum(made_fluxes)
    assert closure == pytest.approx(0, abs=1e-7)


def test_conduction_in_small_time_steps_becomes_the_steady_flux():
    """Explicit steps from uniform temperature with the surface held: the flux tends to `K/L (T_s - T_low)`."""
    k, capacity, depth, nodes = 0.2, 1.3e6, 0.15, 15
    dx = depth / nodes
    step = 0.4 * dx**2 * capacity / k
    t = np.full(nodes + 1, 288.0)
    t[0] = 301.0
    steady = float(fluxes_at(301.0, inputs(conductance=k / depth, deep=288.0)).ground_heat)
    distance = []
    for i in range(7 * nodes**2):
        t[1:-1] += step * k / capacity * np.diff(t, 2) / dx**2
        if i % nodes**2 == 0:
            distance.append(abs(k * (t[0] - t[1]) / dx - steady))
    assert steady == pytest.approx(k / depth * 13.0, rel=1e-14)
    assert np.all(np.diff(distance) < 0)
    assert k * (t[0] - t[1]) / dx == pytest.approx(steady, rel=1e-9)
    assert t == pytest.approx(np.linspace(301, 288, nodes + 1), abs=1e-8)


@pytest.mark.parametrize(("absorbed", "wind"), [(900.0, 0.3), (310.0, 0.06), (420.0, 1.5)])
def test_soil_column_in_small_time_steps_comes_to_the_same_surface(absorbed, wind):
    """Explicit steps of a soil whose surface node has the full energy balance: at rest it is the package's solution."""
    k, capacity, depth, nodes = 0.3, 1.3e6, 0.15, 10
    dx, step = depth / nodes, 40.0
    x = inputs(absorbed=absorbed, wind=wind, air=292.0, conductance=k / depth, deep=289.0)
    t = np.full(nodes + 1, 289.0)

    def surface(t_s):
        return soil.surface_terms(
            t_s, 292.0, 1000.0, wind, 0.032, 289.0, 295.97, 101.18, 4300.0, k / depth, DEFAULTS
        )  # fmt: skip

    for _ in range(12_000):
        terms = surface(t[0])
        gained = absorbed - terms["emission"] - terms["H"] - terms["LE"] - k * (t[0] - t[1]) / dx
        t[1:-1] += step * k / capacity * np.diff(t, 2) / dx**2
        t[0] += step * gained / (capacity * dx / 2)
    made = balance(292.0, x)
    assert float(made.temperature) == pytest.approx(t[0], abs=1e-6)
    assert float(made.ground_heat) == pytest.approx(k * (t[0] - t[1]) / dx, abs=1e-5)


class Published:
    """One tower's published soil pass, with the rows at its fixed point (the published map does not converge on all)."""

    def __init__(self, record, residual):
        self.record = record
        one = {
            n: record.given(n)
            for n in (
                "soil_par_net_Wm2", "soil_nir_net_Wm2", "ir_dn_ground", "Tair_K_layer0", "Tair_K_layer1", "wind_layer1",
                "eair_Pa_layer0", "P_kPa", "T_air_K", "sfc_temperature", "llout", "T_soil_up_boundary", "T_soil_low_bound",
            )
        }  # fmt: skip
        self.x = one
        self.height = float(record.given("zht_layer1"))
        self.fixed = residual < 1e-8
        self.absorbed = one["soil_par_net_Wm2"] + one["soil_nir_net_Wm2"] + 0.98 * one["ir_dn_ground"]
        self.delta = 49 * self.height * (one["sfc_temperature"] - one["Tair_K_layer1"])
        self.delta = self.delta / (one["Tair_K_layer1"] * one["wind_layer1"] ** 2)
        self.conductance = record.made("intermediate_K_soil") / 0.15

    def inputs(self) -> SoilInputs:
        x = self.x
        made = inputs(
            self.absorbed, x["Tair_K_layer1"], x["eair_Pa_layer0"], x["wind_layer1"], self.height, x["P_kPa"], x["T_air_K"],
            self.record.made("intermediate_resistance_h2o"), self.conductance, x["T_soil_low_bound"],
        )  # fmt: skip
        return SoilInputs(*(jnp.broadcast_to(v, (48,)) for v in made))


@pytest.fixture
def published_soil(published, arrays):
    return Published(published("soil_energy"), arrays["residual_Tsoil_sfc"])


def test_heat_taken_up_by_the_soil_is_part_of_the_ground_heat():
    """What the soil stores is not there to warm the surface: as if so much less were absorbed."""
    without, stored = (
        balance(jnp.asarray(300.0), inputs(absorbed=750.0)),
        balance(jnp.asarray(300.0), inputs(storage=50.0)),
    )
    assert float(stored.temperature) == pytest.approx(float(without.temperature), rel=1e-14)
    assert float(stored.ground_heat - without.ground_heat) == pytest.approx(50.0, abs=1e-9)


def test_published_ground_heat_is_steady_conduction_plus_storage(published_soil):
    """At its fixed point the published column of ten layers is linear, plus a term from the row before."""
    s, made = published_soil, published_soil.record.made
    assert s.fixed.sum() > 40
    ground = fluxes_at(s.x["T_soil_up_boundary"], s.inputs()).ground_heat
    steady = made("gsoil") - made("intermediate_storage")
    assert np.abs(np.asarray(ground) - steady)[s.fixed].max() < 2e-9 * np.abs(steady).max()
    depth = np.concatenate([[0.0], np.cumsum(s.record.given("dz"))]) / 0.15
    surface, low = s.x["T_soil_up_boundary"][:, None], s.x["T_soil_low_bound"][:, None]
    linear = surface + (low - surface) * depth
    assert np.abs(made("T_soil")[:, :11] - linear)[s.fixed].max() < 1e-8


def test_published_fluxes_follow_from_the_package_s_resistances_and_its_expansions(published_soil):
    """Expansions about the layer below, emission at the reference temperature, two different ground heats."""
    s, x, made = published_soil, published_soil.x, published_soil.record.made
    ours = np.asarray(stability_factor(s.delta))
    factor = np.where(s.delta < -1 / 3, np.clip((1 + s.delta) ** -2.0, 0.1, 5), ours)  # not monotone in stable air
    neutral = np.log(s.height / 0.02) ** 2 / (0.16 * x["wind_layer1"])
    resistance = np.clip(neutral * factor, 25, 1000)
    t, density = x["Tair_K_layer0"], 28.97 * x["P_kPa"] / (8.314 * x["T_air_K"])
    latent = 3149000 - 2370 * t
    saturation = 100 * np.exp(54.8781919 - 6790.4985 / t - 5.02808 * np.log(t))
    slope = 18 * latent * saturation / (8314 * t**2)
    curvature = -2 * slope / t + slope * 18 * latent / (8314 * t**2)
    k_c = 1005 * density / resistance
    ell = 0.622 * density * latent / (1000 * x["P_kPa"] * (resistance + made("intermediate_resistance_h2o")))
    deficit = saturation - x["eair_Pa_layer0"]
    r, available = k_c + 4 * 0.98 * SIGMA * t**3, s.absorbed - x["llout"] - made("gsoil")
    a = ell * curvature / (2 * r)
    b, c = -r - ell * slope - 2 * a * available, r * ell * deficit + ell * slope * available + a * available**2
    evaporation = 2 * c / (-b + np.sqrt(np.maximum(b**2 - 4 * a * c, 10)))
    assert relative_error(evaporation, made("evap")) < 1e-8
    ground = made("gsoil") - made("intermediate_storage")
    qa, qb = 6 * 0.98 * SIGMA * t**2 + 0.5 * curvature * ell, 4 * 0.98 * SIGMA * t**3 + k_c + ell * slope
    qc = -s.absorbed + x["llout"] + ground + ell * deficit
    rise = (-qb + np.sqrt(qb**2 - 4 * qa * qc)) / (2 * qa)
    assert relative_error(x["Tair_K_layer1"] + rise, made("sfc_temperature")) < 1e-11
    assert np.abs(k_c * rise - made("heat")).max() < 1e-8
    plain = s.fixed & (s.delta > -1 / 3)
    sensible = np.asarray(fluxes_at(made("sfc_temperature"), s.inputs()).sensible_heat)
    assert plain.sum() > 40 and np.abs(sensible - made("heat"))[plain].max() < 1e-8


def test_the_package_closes_where_the_published_surface_does_not(published_soil):
    s, made = published_soil, published_soil.record.made
    x = s.inputs()
    ours = balance(s.x["Tair_K_layer1"], x)
    net = s.absorbed - np.asarray(emission(x, ours.temperature))
    assert np.abs(net - np.asarray(ours.sensible_heat + ours.latent_heat + ours.ground_heat)).max() < 1e-8
    published = made("rnet") - made("heat") - made("evap") - made("gsoil")
    assert np.abs(published[s.fixed]).max() > 3.0


def test_limits():
    still = inputs(
        absorbed=0.98 * SIGMA * 290.0**4, air=290.0, deep=290.0, vapour=soil.saturation_vapour_pressure(290.0)
    )
    made = balance(300.0, still)
    assert float(made.temperature) == pytest.approx(290, abs=1e-9) and max(abs(float(v)) for v in made[1:]) < 1e-7
    tied = balance(300.0, inputs(conductance=1e7, deep=285.0))
    assert float(tied.temperature) == pytest.approx(285, abs=1e-3)
    sealed = balance(300.0, inputs(vapour_resistance=1e12))
    assert abs(float(sealed.latent_heat)) < 1e-5


def test_surface_warms_with_radiation_continuously_through_both_regimes():
    """From a strong inversion through neutral to free convection the solution moves without a jump."""
    absorbed = np.linspace(200, 900, 4001)
    for wind in (0.08, 0.4, 1.5):
        x = inputs(absorbed=absorbed, wind=wind, height=0.3, air=290.0, reference=290.0, deep=288.0)
        x = SoilInputs(*(jnp.broadcast_to(v, absorbed.shape) for v in x))
        made = balance(jnp.full(absorbed.shape, 290.0), x)
        t = np.asarray(made.temperature)
        assert np.all(np.diff(t) > 0) and np.diff(t).max() < 0.175 / 3  # slope at most 1 / (emission + ground)
        assert t[0] < 290 < t[-1]


def test_derivatives_are_those_of_the_solution():
    rng = np.random.default_rng(2)
    n = 14
    numbers = {
        "absorbed": rng.uniform(350, 950, n), "air": rng.uniform(283, 300, n), "vapour": rng.uniform(700, 1400, n),
        "wind": rng.uniform(0.3, 2, n), "height": rng.uniform(0.1, 0.5, n), "pressure": rng.uniform(85, 102, n),
        "vapour_resistance": rng.uniform(100, 4000, n), "conductance": rng.uniform(1, 5, n), "deep": rng.uniform(283, 295, n),
    }  # fmt: skip

    def f(**x):
        made = soil_surface_balance(x["air"], inputs(reference=290.0, **x))
        return made.temperature + 0.1 * made.sensible_heat - 0.2 * made.latent_heat + 0.3 * made.ground_heat

    x = inputs(reference=290.0, **numbers)
    x = SoilInputs(*(jnp.broadcast_to(v, (n,)) for v in x))
    made = balance(x.air_temperature, x)
    delta = 49 * x.height * (made.temperature - x.air_temperature) / (x.air_temperature * x.wind**2)
    resistance = jnp.log(x.height / 0.02) ** 2 / (0.16 * x.wind) * stability_factor(delta)
    near_kink = (jnp.abs(resistance - 25) < 1) | (jnp.abs(delta) < 0.02) | (jnp.abs(delta + 1 / 3) < 0.02)
    near_kink = near_kink | (jnp.abs(delta + 20 / 27) < 0.02) | (jnp.abs(1 + delta - 0.1 ** (-4 / 3)) < 0.5)
    keep = ~np.asarray(near_kink)
    assert keep.sum() >= 8
    errors = derivative_error(f, {k: v[keep] for k, v in numbers.items()}, 1e-5)
    assert max(errors.values()) < 2e-6, errors


def test_gradients_are_finite_at_every_switch():
    gradient = jax.jit(jax.grad(stability_factor))
    for delta in (-1e9, -2.0, -1.0, -20 / 27, -1 / 3, 0.0, 0.1 ** (-4 / 3) - 1, 1e9):
        assert all_finite(gradient(delta)), delta
    of_balance = jax.jit(jax.grad(lambda x: sum(soil_surface_balance(x.air_temperature, x))))
    for absorbed in (150.0, 0.98 * SIGMA * 296.0**4, 1300.0):
        for wind in (0.03, 3.0):
            assert all_finite(of_balance(inputs(absorbed=absorbed, wind=wind))), (absorbed, wind)


def test_single_precision():
    x = inputs(absorbed=np.array([300.0, 500.0, 800.0, 1000.0]))
    x = SoilInputs(*(np.broadcast_to(np.asarray(v), 4) for v in x))
    guess = np.full(4, 296.0)
    assert precision_error(lambda t, x: balance(t, x), guess, x) < 1e-4
