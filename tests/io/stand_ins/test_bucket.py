"""The bucket: what goes in comes out, its limits, its derivatives, and its use in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from bridges import JaxModule
from canveg_jax.io.stand_ins import STAND_INS, RootZone, StandInError
from canveg_jax.io.stand_ins.bucket import daily_weather
from canveg_jax.io.stand_ins.potential_evaporation import (
    extraterrestrial_radiation,
    net_radiation,
    potential_evaporation,
)
from canveg_jax.io.stand_ins.root_zone import CRITICAL_SHARE, CYCLES, at_half_hours, soil_water_content
from tests.io.stand_ins.records import record

BUCKET = STAND_INS["soil_water_content"]["bucket"]
RNG = np.random.default_rng(5)
DAYS = 800
SEASON = np.sin(2 * np.pi * np.arange(DAYS) / 365.0)
RAIN = np.where(RNG.random(DAYS) < 0.3, RNG.exponential(9.0, DAYS), 0.0)
POTENTIAL = 2.5 + 2.3 * SEASON
TEMPERATURE = 6.0 + 12.0 * SEASON + RNG.normal(0.0, 2.0, DAYS)


def day_by_day(zone, water, weather):
    return jax.lax.scan(lambda *x: zone.day(*x), jnp.array([water, 0.0]), weather)


def test_rain_is_evaporation_drainage_and_change_of_storage():
    balance = RootZone(90.0, 6.0)(RAIN, POTENTIAL, TEMPERATURE)
    stored = np.concatenate(([balance.start.sum()], balance.water + balance.snow))
    out = np.asarray(balance.evaporation + balance.drainage)
    np.testing.assert_allclose(np.diff(stored), RAIN - out, atol=1e-10)
    assert abs(stored[-1] - stored[0] + out.sum() - RAIN.sum()) < 1e-10 * RAIN.sum()
    for name in ("water", "snow", "rain", "melt", "evaporation", "drainage"):
        assert np.min(getattr(balance, name)) >= 0.0, name
    assert np.max(balance.water) <= 90.0 and np.max(balance.snow) > 5.0


def test_without_rain_it_dries_to_zero_monotonically():
    zone, nothing = RootZone(100.0, 5.0), jnp.zeros(3000)
    stored, columns = jax.lax.scan(
        lambda *x: zone.day(*x), jnp.array([100.0, 0.0]), jnp.stack([nothing, nothing + 4.0, nothing + 15.0], 1)
    )
    water = np.asarray(columns[:, 0])
    assert (np.diff(water) < 0.0).all() and 0.0 <= stored[0] < 1e-10
    supply = CRITICAL_SHARE * 100.0  # the last of it goes exponentially, as evaporation is in proportion to the water
    late = water[(water < 0.2 * supply) & (water > 1e-6)]
    np.testing.assert_allclose(late[1:] / late[:-1], 1.0 - 4.0 / supply, rtol=1e-3)


def test_a_full_bucket_drains_and_overflows():
    zone = RootZone(100.0, 8.0)
    (water, _), (*_, evaporation, drainage) = zone.day(jnp.array([100.0, 0.0]), jnp.array([0.0, 0.0, 10.0]))
    assert (float(water), float(evaporation), float(drainage)) == (92.0, 0.0, 8.0)
    (water, _), (*_, drainage) = zone.day(jnp.array([100.0, 0.0]), jnp.array([25.0, 0.0, 10.0]))
    assert (float(water), float(drainage)) == (92.0, 33.0)


def test_snow_waits_and_melts_by_degree_days():
    zone = RootZone(100.0, 0.0)
    cold, mild = jnp.array([12.0, 0.0, -5.0]), jnp.array([0.0, 0.0, 2.0])
    stored, columns = jax.lax.scan(
        lambda *x: zone.day(*x), jnp.array([10.0, 0.0]), jnp.stack([cold, cold, mild, mild, mild, mild, mild])
    )
    water, snow, rain, melt, *_ = np.asarray(columns).T
    np.testing.assert_allclose(snow, [12, 24, 18, 12, 6, 0, 0], atol=1e-12)
    np.testing.assert_allclose(water, [10, 10, 16, 22, 28, 34, 34], atol=1e-12)
    assert (rain == 0.0).all() and melt.sum() == pytest.approx(24.0)


def test_the_first_year_is_steady():
    rain, potential, temperature = RAIN[:365], POTENTIAL[:365], TEMPERATURE[:365]
    balance = RootZone(150.0, 10.0)(rain, potential, temperature)
    assert abs(balance.water[-1] - balance.start[0]) < 1e-6 and CYCLES == 20


@pytest.mark.parametrize("what", ["capacity", "drainage"])
def test_derivatives(what):
    """Of a weighted mean of the soil water, against central differences."""
    weights = jnp.asarray(np.cos(np.arange(DAYS)) + 1.5)

    def mean(capacity, drainage):
        water = RootZone(capacity, drainage)(RAIN, POTENTIAL, TEMPERATURE).water
        return jnp.mean(weights * soil_water_content(water, capacity))

    at = {"capacity": 87.0, "drainage": 6.3}
    exact = jax.grad(mean, argnums=list(at).index(what))(*at.values())
    step = 1e-5 * at[what]
    up, down = ({**at, what: at[what] + sign * step} for sign in (1, -1))
    difference = (mean(**up) - mean(**down)) / (2 * step)
    assert abs(exact) > 1e-5
    np.testing.assert_allclose(exact, difference, rtol=1e-6)


def test_in_torch_its_two_parameters_are_found_again():
    """A plain loop: from soil water of known parameters back to them."""
    days = [torch.tensor(column[:400]) for column in (RAIN, POTENTIAL, TEMPERATURE)]
    truth = JaxModule(RootZone(80.0, 12.0))(*days).water.detach()
    zone = JaxModule(RootZone(120.0, 5.0))
    assert {name for name, _ in zone.named_parameters()} == {"capacity", "drainage"}
    optimizer = torch.optim.LBFGS(zone.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (zone(*days).water - truth).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert zone.capacity.item() == pytest.approx(80.0, rel=1e-3) and zone.drainage.item() == pytest.approx(
        12.0, rel=1e-2
    )


def test_extraterrestrial_radiation_and_net_radiation_of_the_source():
    """Examples 8 and 12 of [Allen1998]: 20 degrees south on 3 September; Rio de Janeiro in May."""
    np.testing.assert_allclose(0.0864 * extraterrestrial_radiation(np.array([246.0]), -20.0), 32.2, atol=0.05)
    assert extraterrestrial_radiation(np.array([355.0]), 80.0) == 0.0
    megajoules = 0.0864
    net = net_radiation(
        np.array([14.5 / megajoules]), np.array([22.1]), np.array([2.1]), np.array([25.1 / megajoules]), 0.0
    )
    np.testing.assert_allclose(megajoules * net, 11.1 - 3.4, atol=0.15)


def test_potential_evaporation():
    """At 20 degC and 101.3 kPa the slope is 0.1447 and the psychrometric constant 0.0674 kPa K-1."""
    rate = potential_evaporation(np.array([150.0, -20.0]), np.array([20.0, 20.0]), 101.3)
    np.testing.assert_allclose(rate, [1.26 * 0.1447 / (0.1447 + 0.06736) * 150.0 * 0.0864 / 2.45, 0.0], rtol=1e-3)


def test_of_a_record():
    data = record(400)
    made = BUCKET.make(data, **BUCKET.parameters)
    assert made.values.shape == (400 * 48,) and np.isfinite(made.values).all()
    assert 0.12 <= made.values.min() < made.values.max() <= 0.32
    weather = daily_weather(data)
    np.testing.assert_allclose(weather.precipitation.sum(), data.precipitation.sum())
    assert not weather.incomplete.any() and weather.share[0] == 0.25 / 24.0
    assert made.remarks == ("irrigation, ground water and run-on are not in it",)
    dry = BUCKET.make(data._replace(precipitation=0.0 * data.precipitation), **BUCKET.parameters)
    np.testing.assert_allclose(dry.values, 0.12, atol=1e-3)


def test_days_with_gaps():
    data = record(400)
    rain, sun = data.precipitation.copy(), data.forcing["shortwave_in"].copy()
    rain[48 * 10 : 48 * 10 + 20] = np.nan
    sun[48 * 20 : 48 * 23] = np.nan
    gappy = data._replace(precipitation=rain, forcing={**data.forcing, "shortwave_in": sun})
    weather = daily_weather(gappy)
    assert np.flatnonzero(weather.incomplete).tolist() == [20, 21, 22]
    np.testing.assert_allclose(weather.precipitation[10], rain[48 * 10 + 20 : 48 * 11].sum() * 48 / 28)
    made = BUCKET.make(gappy, **BUCKET.parameters)
    assert any(
        remark.startswith("3 of 400 days have too little weather: they have no soil water") for remark in made.remarks
    )
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(made.values)), np.arange(48 * 20, 48 * 23))
    mean = np.delete(weather.potential_evaporation, [20, 21, 22])
    assert (
        mean.min() < weather.potential_evaporation[21] < mean.max()
    )  # the balance goes on with the mean of the weather
    assert any("the record has 30 days" in remark for remark in BUCKET.make(record(30), **BUCKET.parameters).remarks)


def test_measured_net_radiation_where_there_is_any():
    data = record(20)
    net = np.full(20 * 48, np.nan)
    net[: 5 * 48] = 77.0
    measured = daily_weather(data._replace(net_radiation=net), measured_net_radiation=True)
    computed = daily_weather(data._replace(net_radiation=net))
    np.testing.assert_allclose(measured.potential_evaporation[5:], computed.potential_evaporation[5:])
    expected = potential_evaporation(np.full(5, 77.0), computed.air_temperature[:5], 96.0)
    np.testing.assert_allclose(measured.potential_evaporation[:5], expected)


def test_parameters_that_cannot_be():
    with pytest.raises(StandInError, match="needs capacity > 0 mm, .* got 150, -1, 0.12 and 0.32"):
        BUCKET.make(record(1), **{**BUCKET.parameters, "drainage": -1.0})


def test_half_hours_lie_on_lines_between_the_ends_of_days():
    values = at_half_hours(np.array([2.0, 1.0]), 1.0, np.array([0, 0, 1]), np.array([0.0, 0.5, 0.25]))
    np.testing.assert_allclose(values, [1.0, 1.5, 1.75])
