"""Synthetic towers: physically consistent weather inside the ranges, a known stress, honest noise and gaps."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pvlib
import pytest
from hypothesis import given, settings

from canveg_jax import FORCING_TABLE, Forcing, Parameters, Site
from canveg_jax.io import TARGET_TABLE, forcing_complete, vapour_pressure_deficit
from canveg_jax.io.humidity import saturation_vapour_pressure_kpa
from canveg_jax.io.sun import sine_of_elevation
from canveg_jax.synthetic import (
    NOISE,
    SYNTHETIC_ARIDITY,
    SYNTHETIC_SITES,
    KnownLeafStress,
    known_canopy_stress,
    known_stress,
    laplace_noise,
    synthetic_tower,
    synthetic_weather,
)
from canveg_jax.synthetic.canopy_towers import synthetic_towers
from canveg_jax.synthetic.processes import autoregressive, damped_wave, relax
from canveg_jax.synthetic.solar import clear_sky_shortwave
from canveg_jax.synthetic.tower import measured_samples

HUMID, ARID = SYNTHETIC_SITES["SYN-Hum"], SYNTHETIC_SITES["SYN-Ari"]


@st.composite
def sites(draw):
    height = draw(st.floats(0.05, 40.0))
    return Site(
        name="SYN-any", latitude=draw(st.floats(-85, 85)), longitude=draw(st.floats(-180, 180)),
        utc_offset=draw(st.integers(-12, 14)), canopy_height=height,
        measurement_height=height * draw(st.floats(1.05, 8.0)), soil_depth=draw(st.floats(0.01, 1.0)),
    )  # fmt: skip


def sine(weather, site):
    day, hour = weather["day_of_year"].values, weather["hour"].values
    return sine_of_elevation(day, hour, site)


DATES = (pd.Timestamp("1980-01-01").date(), pd.Timestamp("2200-01-01").date())
"""Pandas before 3 counts nanoseconds, up to the year 2262."""


@settings(max_examples=40)
@given(sites(), st.integers(1, 20), st.integers(0, 10**6), st.floats(0, 1), st.dates(*DATES))
def test_weather_is_always_usable_and_consistent(site, days, seed, aridity, first):
    weather = synthetic_weather(site, days, seed, aridity, start=str(first))
    for name, info in FORCING_TABLE.items():
        values = weather[name].values
        if name == "soil_temperature_tendency":  # a centred difference: not known in the first and the last hour
            assert np.isnan(values[[0, 1, -2, -1]]).all()
            values = values[2:-2]
        assert np.isfinite(values).all() and info.lower <= values.min() and values.max() <= info.upper, name
    assert weather["forcing_complete"].all() and forcing_complete(weather).all()
    saturation = saturation_vapour_pressure_kpa(weather["air_temperature"])
    assert (weather["vapour_pressure"] <= saturation).all()
    assert (weather["shortwave_in"] <= clear_sky_shortwave(sine(weather, site))).all()
    assert (weather["shortwave_in"].values[sine(weather, site) <= 0] == 0).all()
    assert (weather["precipitation"] >= 0).all() and (weather["wind_speed"] > 0).all()
    black_body = 5.67037442e-8 * (weather["air_temperature"] + 273.15) ** 4
    assert (weather["longwave_in"] <= black_body * (1 + 1e-9)).all()


def test_it_is_shaped_like_a_tower_file():
    weather = synthetic_weather(HUMID, 3, start="2018-12-30")
    assert len(Forcing.from_dataset(weather)) == 144
    assert weather.attrs["format"] == "synthetic" and weather.attrs["site"] == "SYN-Hum"
    assert weather.attrs["step_minutes"] == 30
    np.testing.assert_array_equal(weather["day_of_year"].values[[95, 96]], [365, 1])
    np.testing.assert_array_equal(weather["hour"].values[[95, 96]], [23.75, 0.25])
    for name, info in FORCING_TABLE.items():
        assert weather[name].attrs["units"] == info.unit
    assert "latent_heat" not in weather


def test_the_seed_decides_everything():
    first, again, other = (synthetic_weather(HUMID, 5, seed) for seed in (3, 3, 4))
    assert first.identical(again)
    assert abs(first["air_temperature"] - other["air_temperature"]).max() > 0.1


@pytest.mark.parametrize("site", SYNTHETIC_SITES.values(), ids=SYNTHETIC_SITES)
def test_sun_agrees_with_pvlib(site):
    start = pd.date_range("2019-01-01", "2021-01-01", freq="7h")
    middle = start + pd.Timedelta(minutes=15)
    offset = pd.Timedelta(hours=site.utc_offset)
    expected = pvlib.solarposition.get_solarposition(
        (middle - offset).tz_localize("UTC"), site.latitude, site.longitude
    )
    ours = sine_of_elevation(
        middle.day_of_year.to_numpy(), middle.hour.to_numpy() + middle.minute.to_numpy() / 60,
        site,
    )  # fmt: skip
    difference = np.degrees(np.arcsin(ours)) - expected["elevation"].to_numpy()
    assert np.abs(difference).max() < 0.5


def test_clear_sky_stays_below_the_sun_outside_the_atmosphere():
    elevation = np.linspace(-1, 1, 401)
    clear = clear_sky_shortwave(elevation)
    assert (clear[elevation <= 0] == 0).all() and (np.diff(clear[elevation > 0.01]) > 0).all()
    assert (clear <= 1361 * np.maximum(elevation, 0)).all()


@pytest.fixture(scope="module")
def years():
    return {name: synthetic_weather(site, 365, 1) for name, site in SYNTHETIC_SITES.items()}


def test_the_four_sites_get_drier(years):
    assert list(SYNTHETIC_ARIDITY.values()) == sorted(SYNTHETIC_ARIDITY.values()) and set(years) == set(
        SYNTHETIC_ARIDITY
    )
    rain = [float(w["precipitation"].sum()) for w in years.values()]
    water = [float(w["soil_water_content"].mean()) for w in years.values()]
    leaves = [float(w["lai"].mean()) for w in years.values()]
    deficit = [float(vapour_pressure_deficit(w).mean()) for w in years.values()]
    for falling in (rain, water, leaves, [-d for d in deficit]):
        assert falling == sorted(falling, reverse=True)
    assert rain[0] > 700 and rain[-1] < 350  # mm per year


@pytest.mark.parametrize("name", SYNTHETIC_SITES)
def test_diurnal_and_seasonal_cycles(years, name):
    weather, site = years[name], SYNTHETIC_SITES[name]
    by_hour = weather.set_coords("hour").groupby("hour").mean()
    noon = 12 - (site.longitude / 15 - site.utc_offset)  # mean solar noon, local standard time

    def lag(variable):
        """Hours after solar noon at which the first diurnal harmonic of a variable peaks."""
        phase = np.angle((by_hour[variable].values * np.exp(2j * np.pi * by_hour["hour"].values / 24)).sum())
        return (phase * 12 / np.pi - noon + 12) % 24 - 12

    assert abs(lag("shortwave_in")) < 0.5
    assert 1.0 < lag("air_temperature") < 4.5
    assert lag("soil_temperature") > lag("air_temperature") + 2.0
    assert abs(lag("co2")) > 6.0  # highest at night
    assert float(by_hour["friction_velocity"].sel(hour=noon, method="nearest")) > float(
        by_hour["friction_velocity"].sel(hour=(noon + 12) % 24, method="nearest")
    )
    amplitude = float(np.ptp(by_hour["air_temperature"].values))
    assert 4 < amplitude < 20
    assert np.ptp(by_hour["soil_temperature"].values) < 0.6 * amplitude
    months = weather.groupby("time.month").mean()["air_temperature"]
    warmest = int(months["month"].values[np.argmax(months.values)])
    assert warmest in ((6, 7, 8) if site.latitude > 0 else (12, 1, 2))


def test_soil_dries_between_rains_and_wets_by_rain(years):
    weather = years["SYN-Sub"]
    water, rain = weather["soil_water_content"].values, weather["precipitation"].values
    change = np.diff(water)
    assert (change[rain[1:] == 0] <= 1e-12).all()
    assert (change[rain[1:] > 2.0] > 0).all()


def test_clouds_bring_rain_and_dim_the_sun(years):
    weather, site = years["SYN-Hum"], HUMID
    high = sine(weather, site) > 0.5
    ratio = weather["shortwave_in"].values / np.maximum(clear_sky_shortwave(sine(weather, site)), 1e-9)
    wet = weather["precipitation"].values > 0
    assert ratio[high & wet].mean() < 0.4 < ratio[high & ~wet].mean()
    assert ratio[high].std() > 0.15


def test_weather_persists_for_days(years):
    daily = years["SYN-Hum"]["air_temperature"].resample(time="1D").mean().values
    anomaly = daily - pd.Series(daily).rolling(31, center=True, min_periods=1).mean().to_numpy()
    assert 0.3 < np.corrcoef(anomaly[1:], anomaly[:-1])[0, 1] < 0.95


def test_what_is_refused():
    own = Site(name="own", latitude=0, longitude=0, utc_offset=0, canopy_height=1, measurement_height=3)
    with pytest.raises(ValueError, match="'own' is none of the synthetic sites .* give aridity="):
        synthetic_weather(own, 2)
    with pytest.raises(ValueError, match="aridity must be between 0 .* got 1.5"):
        synthetic_weather(own, 2, aridity=1.5)
    with pytest.raises(ValueError, match="days must be at least 1; got 0"):
        synthetic_weather(HUMID, 0)


def test_autoregressive_series_have_unit_variance_and_the_stated_memory():
    series = autoregressive(np.random.default_rng(0), 200_000, 10.0)
    assert abs(series.var() - 1) < 0.05
    assert abs(np.corrcoef(series[10:], series[:-10])[0, 1] - np.exp(-1)) < 0.03


def test_relaxation_follows_a_step_exponentially():
    np.testing.assert_allclose(relax(np.ones(20), 5.0, start=0.0), 1 - np.exp(-np.arange(1, 21) / 5.0), rtol=1e-12)


def test_damped_wave_is_the_analytic_solution():
    step, depth, kappa = 1800.0, 0.12, 4e-7
    seconds = step * np.arange(48 * 10)
    omega = 2 * np.pi / 86400
    k = np.sqrt(omega / (2 * kappa))
    found = damped_wave(15 + 8 * np.sin(omega * seconds), step, depth, kappa)
    np.testing.assert_allclose(found, 15 + 8 * np.exp(-k * depth) * np.sin(omega * seconds - k * depth), atol=1e-9)


@given(st.floats(0.0, 0.8), st.floats(-1.0, 10.0))
def test_known_stress_is_a_fraction_and_monotone(water, deficit):
    value = float(known_stress(water, deficit))
    assert 0 < value <= 1
    assert float(known_stress(water + 0.01, deficit)) >= value
    assert float(known_stress(water, deficit + 0.1)) <= value


def test_known_stress_at_known_points_and_its_derivative():
    np.testing.assert_allclose(known_stress(np.array([0.12, 0.12, 0.5]), np.array([0.0, 8.0, 0.0])), [0.5, 0.25, 1.0])
    water, step = 0.13, 1e-6
    exact = jax.grad(known_stress)(water, 1.5)
    central = (known_stress(water + step, 1.5) - known_stress(water - step, 1.5)) / (2 * step)
    np.testing.assert_allclose(exact, central, rtol=1e-7)


def test_known_stress_as_the_stress_of_a_canopy():
    weather = synthetic_weather(ARID, 2, 5)
    forcing = Forcing.from_dataset(weather)
    found = jax.vmap(lambda f: known_canopy_stress(f, Parameters()))(forcing)
    deficit = vapour_pressure_deficit(weather)
    np.testing.assert_allclose(found, known_stress(weather["soil_water_content"].values, deficit.values), rtol=1e-9)


def bulk_model(weather, stress):
    """A cheap stand-in for the canopy: available energy shared by the stress."""
    energy = 0.75 * weather["shortwave_in"].values - 40.0
    transpiration = np.maximum(energy, 0) * stress * weather["lai"].values / (1 + weather["lai"].values)
    ground = 0.1 * energy
    return {
        "LE": transpiration, "Rnet": energy, "G": ground, "H": energy - ground - transpiration,
        "NEE": 3.0 - 0.05 * transpiration,
    }  # fmt: skip


@pytest.fixture(scope="module")
def tower():
    return synthetic_tower(SYNTHETIC_SITES["SYN-Sub"], 365, 2, bulk_model)


def test_truth_and_stress_are_kept(tower):
    expected = known_stress(tower["soil_water_content"].values, vapour_pressure_deficit(tower).values)
    np.testing.assert_allclose(tower["stress_true"], expected, rtol=1e-12)
    np.testing.assert_allclose(
        tower["net_radiation_true"],
        tower["latent_heat_true"] + tower["sensible_heat_true"] + tower["ground_heat_true"],
        atol=1e-9,
    )
    for name, info in TARGET_TABLE.items():
        assert tower[name].attrs["units"] == info.unit
    assert np.isnan(tower["soil_respiration"]).all() and not tower["soil_respiration_measured"].any()


def test_masks_say_where_observations_are(tower):
    for name in TARGET_TABLE:
        np.testing.assert_array_equal(np.isfinite(tower[name]), tower[f"{name}_measured"])


def test_gaps_are_more_frequent_at_night_and_come_in_blocks(tower):
    night = tower["shortwave_in"].values <= 0
    lost = ~tower["latent_heat_measured"].values
    assert 0.05 < lost[~night].mean() < 0.25
    assert 0.25 < lost[night].mean() < 0.75
    power = ~tower["net_radiation_measured"].values
    assert 0.01 < power.mean() < 0.15 and lost[power].all()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], power.astype(int), [0]])))
    assert (edges[1::2] - edges[::2]).max() > 12
    np.testing.assert_array_equal(tower["nee_measured"], tower["latent_heat_measured"])


@pytest.mark.parametrize("name", ["latent_heat", "nee", "sensible_heat"])
def test_noise_is_double_exponential_and_grows_with_the_flux(tower, name):
    measured = tower[f"{name}_measured"].values
    truth, sigma = tower[f"{name}_true"].values[measured], tower[f"{name}_sigma"].values[measured]
    offset, slope = NOISE[name]
    np.testing.assert_allclose(sigma, offset + slope * np.abs(truth))
    residual = (tower[name].values[measured] - truth) / sigma
    assert abs(residual.mean()) < 0.05 and abs(residual.std() - 1) < 0.05
    assert abs(np.abs(residual).mean() - np.sqrt(0.5)) < 0.03  # Laplace; a Gaussian would have 0.80
    small, large = np.abs(truth) <= np.quantile(np.abs(truth), 0.3), np.abs(truth) > np.quantile(np.abs(truth), 0.95)
    error = tower[name].values[measured] - truth
    assert error[large].std() > 1.15 * error[small].std()


def test_laplace_noise_has_the_stated_standard_deviation():
    noise = laplace_noise(np.random.default_rng(0), np.full(200_000, 3.0))
    assert abs(noise.std() - 3) < 0.03 and 5.4 < (noise**4).mean() / noise.var() ** 2 < 6.6  # kurtosis 6, Gaussian 3


def test_noise_and_gaps_can_be_switched_off_without_changing_the_rest():
    arguments = (SYNTHETIC_SITES["SYN-Sem"], 20, 9, bulk_model)
    full = synthetic_tower(*arguments)
    quiet = synthetic_tower(*arguments, noise=False)
    dense = synthetic_tower(*arguments, gaps=False)
    bare = synthetic_tower(*arguments, noise=False, gaps=False)
    np.testing.assert_array_equal(full["nee_measured"], quiet["nee_measured"])
    measured = full["nee_measured"].values
    np.testing.assert_array_equal(full["nee"].values[measured], dense["nee"].values[measured])
    np.testing.assert_array_equal(bare["nee"], bare["nee_true"])
    assert dense["nee_measured"].all() and not measured.all()
    np.testing.assert_array_equal(quiet["nee"].values[measured], bare["nee_true"].values[measured])
    np.testing.assert_array_equal(full["air_temperature"], bare["air_temperature"])
    assert "nee_sigma" in full and "nee_sigma" not in quiet


def test_the_mask_is_boolean_with_and_without_gaps():
    solved, power, turbulence = np.array([[1, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0]], dtype=bool)
    for lost, target, expected in [
        (None, "nee", [1, 1, 1, 0]),
        ({"power": power, "turbulence": turbulence}, "nee", [1, 0, 0, 0]),
        ({"power": power, "turbulence": turbulence}, "ground_heat", [1, 0, 1, 0]),
    ]:
        mask = measured_samples(target, solved, lost)
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, np.array(expected, dtype=bool))


def test_another_stress_can_be_planted():
    tower = synthetic_tower(ARID, 3, 1, bulk_model, stress=lambda water, deficit: jnp.full_like(water, 0.25))
    np.testing.assert_allclose(tower["stress_true"], 0.25)


MORE = ("soil_respiration", "GPP", "shortwave_out", "longwave_out")


def test_half_hours_that_were_not_solved_are_not_measured():
    def failing(weather, stress):
        fluxes = bulk_model(weather, stress)
        fluxes["LE"][7] = np.nan
        return fluxes | {"converged": np.arange(len(stress)) != 7, **{flux: np.full(len(stress), 2.0) for flux in MORE}}

    tower = synthetic_tower(HUMID, 2, 1, failing, gaps=False)
    for name in TARGET_TABLE:
        np.testing.assert_array_equal(np.flatnonzero(~tower[f"{name}_measured"]), [7])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: {k: v for k, v in f.items() if k != "NEE"},
            "returned no 'NEE'; expected LE, H, G, Rnet, NEE, got LE",
        ),
        (lambda f: f | {"H": f["H"][:-1]}, r"'H' has shape \(95,\); expected \(96,\)"),
        (
            lambda f: f | {"G": np.where(np.arange(96) == 5, np.nan, f["G"])},
            "'G' is not finite in 1 half-hour.*first 5",
        ),
    ],
)
def test_a_faulty_flux_model_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        synthetic_tower(HUMID, 2, 1, lambda weather, stress: change(bulk_model(weather, stress)))


def test_towers_whose_leaves_are_under_a_stress_of_their_own():
    """In the humid and the dry tower: the factor is that of the leaves, whose deficit differs from that of the air."""
    towers = synthetic_towers([1, 1, 2, 1], seed=3, n_layers=1, in_loop=KnownLeafStress())
    assert [tower.sizes["time"] for _, tower in towers] == [48, 48, 96, 48]
    for _, tower in towers:
        water = 0.1 + 0.9 / (1.0 + np.exp(-(tower["soil_water_content"].values - 0.1) / 0.025))
        deficit = 6.0 * (water / tower["stress_true"].values - 1.0)  # that the leaves have felt
        assert (deficit > -1e-9).all() and (deficit < 12.0).all()
        air = vapour_pressure_deficit(tower).values
        sunny = tower["shortwave_in"].values > 300.0
        assert np.corrcoef(deficit[sunny], air[sunny])[0, 1] > 0.5 and np.abs(deficit - air)[sunny].max() > 0.05
        assert (tower["canopy_conductance_true"].values >= 0.0).all()
