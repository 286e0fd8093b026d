"""The examination of a record: clock, costs, suspicions, closure, the verdict."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from canveg_jax import Site
from canveg_jax.io import TowerFileError, read_tower
from canveg_jax.io.completeness import costs_of_forcing
from canveg_jax.io.doctor import examine, examine_files, require_usable, short_text
from canveg_jax.io.energy_balance import closure
from canveg_jax.io.ranges import only_plausible
from canveg_jax.io.sun import sine_of_elevation
from canveg_jax.io.suspicions import suspicions
from canveg_jax.io.time_zone import standard_time
from canveg_jax.io.tower_dataset import Column, Target, TowerTable, build_dataset
from canveg_jax.synthetic.solar import clear_sky_shortwave
from tests.io import lookalikes
from tests.io.formats.test_fluxnet import frame

SITE = Site(
    name="US-Fak",
    latitude=38.1,
    longitude=-121.5,
    utc_offset=-8,
    elevation=0.0,
    canopy_height=0.8,
    measurement_height=5.0,
)
STEP = pd.Timedelta(minutes=30)
DAYS = 30


def tower(site=SITE, shift=0.0, **changes) -> xr.Dataset:
    """A sound record of 30 days in spring; its clock may be `shift` hours ahead of the sun, its forcing or fluxes changed."""
    start = pd.date_range("2021-04-01", periods=48 * DAYS, freq=STEP)
    middle = start + STEP / 2
    rng = np.random.default_rng(2)
    hour = middle.hour.to_numpy() + middle.minute.to_numpy() / 60.0
    day = middle.day_of_year.to_numpy(float)
    sine = sine_of_elevation(day, hour - shift, site)
    shortwave = clear_sky_shortwave(sine) * np.repeat(0.4 + 0.6 * rng.random(DAYS), 48)
    noise = rng.standard_normal((8, len(start)))
    net = 0.7 * shortwave - 40.0 + noise[0]
    wind = 2.5 + rng.random(len(start))
    forcing = {
        "air_temperature": 15.0 + 0.01 * shortwave + 0.1 * noise[1], "shortwave_in": shortwave,
        "vapour_pressure": 0.9 + 0.02 * noise[2], "wind_speed": wind, "co2": 415.0 + noise[3],
        "pressure": 101.3 + 0.1 * noise[4], "friction_velocity": 0.12 * wind, "soil_temperature": 14.0 + 0.1 * noise[5],
        "soil_water_content": 0.2 + 0.02 * rng.random(len(start)), "lai": np.full(len(start), 2.0),
    }  # fmt: skip
    fluxes = {
        "latent_heat": 0.5 * net, "sensible_heat": 0.3 * net + noise[6], "net_radiation": net,
        "ground_heat": np.zeros(len(start)), "nee": -0.02 * shortwave + noise[7],
    }  # fmt: skip
    forcing |= {name: values for name, values in changes.items() if name in forcing}
    fluxes |= {name: values for name, values in changes.items() if name in fluxes}
    table = TowerTable(
        start=start,
        step=STEP,
        forcing={name: Column(values, name) for name, values in forcing.items()},
        targets=only_plausible({name: Target(values, np.isfinite(values), name) for name, values in fluxes.items()}),
    )
    return build_dataset(table, {"source_files": ["fake.csv"]}, site)


SOUND = tower()


def values(name):
    return SOUND[name].values.copy()


def test_a_sound_record_is_usable_without_a_warning():
    found = examine(SOUND, SITE)
    assert (found.verdict, found.warnings, found.refusals, found.costs) == (0, (), (), {})
    assert found.usable == found.half_hours == 48 * DAYS
    assert found.period == "2021-04-01T00:00 to 2021-05-01T00:00, 30 min"
    assert short_text(found) == "US-Fak: 1440 of 1440 half-hours usable (100.0 %)"
    for one in found.variables:
        assert one.measured + one.filled + one.stand_in + one.missing == pytest.approx(1.0), one.variable
    wind = next(one for one in found.variables if one.variable == "wind_speed")
    assert (wind.unit, wind.column, wind.measured) == (
        "m s-1",
        "wind_speed",
        1.0,
    ) and 2.5 <= wind.low < wind.high <= 3.5
    somewhere = SOUND.copy()
    del somewhere.attrs["latitude"]
    assert (
        examine(somewhere).verdict == 0 and examine(somewhere).clock is None and examine(somewhere).name == "fake.csv"
    )
    assert examine(SOUND).clock == found.clock, "the file says where it is"


@pytest.mark.parametrize("shift", [0.0, 0.25, -0.5, 1.0, 8.0, -7.5, 11.5])
def test_the_clock_is_found(shift):
    found = examine(tower(shift=shift), SITE)
    clock, text, grave = found.clock
    assert clock.shift == pytest.approx(shift, abs=0.02) and clock.correlation > 0.85
    assert grave == (abs(shift) > 1.5) and bool(text) == (abs(shift) > 0.4)
    assert text in ("", *found.warnings, *found.refusals) and found.verdict == (2 if grave else int(bool(text)))


def test_utc_stamps_and_wrong_signs_are_named():
    def said(record, site=SITE):
        return examine(record, site).clock.text

    assert "comes 8.0 h later than the sun" in said(tower(shift=8.0)) and "utc_offset = 0 would" in said(
        tower(shift=8.0)
    )
    assert "or longitude = -121.5" in said(SOUND, SITE.model_copy(update={"longitude": 121.5}))
    assert "utc_offset = -8 would fit" in said(SOUND, SITE.model_copy(update={"utc_offset": 8}))
    assert "end stamps read as start stamps" in said(tower(shift=0.5))


def test_a_clock_that_cannot_be_judged():
    assert examine(tower(shortwave_in=np.zeros(48 * DAYS)), SITE).clock is None
    assert examine(tower(shortwave_in=np.random.default_rng(0).random(48 * DAYS) * 500), SITE).clock is None
    hidden = SOUND.assign(shortwave_in_stand_in=("time", np.ones(48 * DAYS, dtype=bool)))
    assert examine(hidden, SITE).clock is None
    cloudy_days = SOUND.isel(time=slice(0, 96))
    clock, text, _ = examine(cloudy_days, SITE.model_copy(update={"longitude": -112.5})).clock
    assert (text, clock.days) == ("", 2) and abs(clock.shift) > 0.5  # 36 min, in two days


def test_what_each_variable_costs():
    wind, friction = values("wind_speed"), values("friction_velocity")
    wind[:100], friction[60:120] = np.nan, 99.0
    record = tower(wind_speed=wind, friction_velocity=friction).drop_vars("co2")
    found = examine(record, SITE).costs
    assert list(found)[:2] == ["co2", "wind_speed"]
    assert (found["co2"], found["wind_speed"], found["friction_velocity"]) == ((1440, 0, 1320), (100, 0, 0), (0, 60, 0))
    with_co2 = costs_of_forcing(tower(wind_speed=wind, friction_velocity=friction))
    assert {name: cost.alone for name, cost in with_co2.items()} == {"wind_speed": 60, "friction_velocity": 20}
    assert costs_of_forcing(SOUND) == {}


def night_offset():
    return values("shortwave_in") + 50.0


def hanging():
    air = values("air_temperature")
    air[100:130] = 11.5
    return air


def copied_day():
    shortwave = values("shortwave_in")
    shortwave[48 * 4 : 48 * 5] = shortwave[48 * 3 : 48 * 4]
    return shortwave


def spiked(name, value):
    series = values(name)
    series[7] = value
    return series


@pytest.mark.parametrize(
    ("variable", "changed", "text"),
    [
        (
            "vapour_pressure",
            3.0 * values("vapour_pressure"),
            "exceeds saturation at the air temperature by more than 5 % in",
        ),
        ("shortwave_in", night_offset(), "W m-2 at night"),
        ("shortwave_in", 2.1 * values("shortwave_in"), "above the sun's own in"),
        ("shortwave_in", 0.4 * values("shortwave_in"), "of the sun's own"),
        ("shortwave_in", copied_day(), "repeats another day to the last digit on 1 day(s), first 2021-04-05"),
        (
            "air_temperature",
            hanging(),
            "keeps one value for 12 h or more: 30 half-hours in 1 run(s), first 11.5 from 2021-04-03 02:00",
        ),
        ("friction_velocity", values("wind_speed") * 0.9, "above 0.6 of the wind speed in 100.0 %"),
        ("friction_velocity", np.where(np.arange(1440) % 10 == 0, 0.0, 0.3), "exactly 0 in 10.0 %"),
        ("co2", 1.8 * values("co2"), "has the median 747; the air of these years held 415"),
        ("pressure", values("pressure") - 9.0, "at 0 m one expects 101.3"),
        ("soil_water_content", 0.2 + 1e-4 * np.arange(1440) / 1440, "hardly varies"),
        (
            "latent_heat",
            spiked("latent_heat", 9000.0),
            "1 sample(s) outside the plausible range -517.5 to 967.5, first 9000 in row 7",
        ),
        ("nee", spiked("nee", -7777.0), "first -7777 in row 7"),
    ],
)
def test_what_looks_wrong_is_named_and_only_that(variable, changed, text):
    found = suspicions(tower(**{variable: changed}), SITE)
    assert {one.variable for one in found} == {variable}, found
    assert any(text in one.text and one.remedy for one in found), found
    examined = examine(tower(**{variable: changed}), SITE)
    assert examined.verdict == 1 and any(
        warning.startswith(f"{variable} (column {variable}) ") for warning in examined.warnings
    )
    assert any(variable in line for line in short_text(examined).splitlines()[1:])


def test_stand_ins_are_not_suspected():
    record = tower(co2=np.full(1440, 700.0)).assign(co2_stand_in=("time", np.ones(1440, dtype=bool)))
    assert suspicions(record, SITE) == []
    one = next(one for one in examine(record, SITE).variables if one.variable == "co2")
    assert (one.stand_in, one.measured, one.missing) == (1.0, 0.0, 0.0)


def test_energy_balance():
    found = closure(SOUND)
    assert found.slope == pytest.approx(0.8, abs=0.01) and abs(found.intercept) < 1.0 and found.samples == 1440
    assert (
        closure(tower(friction_velocity=np.full(1440, 0.1))) is None and closure(SOUND.drop_vars("ground_heat")) is None
    )
    swapped = examine(tower(sensible_heat=-values("sensible_heat")), SITE)
    assert swapped.closure.slope == pytest.approx(0.2, abs=0.01)
    assert any("energy balance: LE + H is 0.20 of Rn - G" in warning for warning in swapped.warnings)


def test_a_record_that_cannot_be_used():
    found = examine(tower(soil_temperature=np.full(1440, np.nan)), SITE)
    assert found.verdict == 2 and "0 of 1440 half-hours are usable" in found.refusals[0]
    assert "without any value: soil_temperature" in found.refusals[0]
    unmeasured = {
        name: np.full(1440, np.nan) for name in ("air_temperature", "shortwave_in", "vapour_pressure", "wind_speed")
    }
    assert "nothing was measured of air_temperature, shortwave_in" in examine(tower(**unmeasured), SITE).refusals[0]
    out_of_range = next(one for one in examine(tower(co2=spiked("co2", 1.0)), SITE).variables if one.variable == "co2")
    assert out_of_range.said == ("co2 has 1 half-hours outside 200 .. 1500. They are left out; check the unit.",)


def test_standard_time_of_a_place():
    pytest.importorskip("tzfpy")
    assert standard_time(38.1, -121.5) == ("America/Los_Angeles", -8.0)
    assert standard_time(47.2, 8.4) == ("Europe/Zurich", 1.0)
    assert standard_time(-35.3, 149.1).utc_offset == 10.0  # summer in January
    found = examine(tower(), SITE.model_copy(update={"utc_offset": -7, "longitude": -121.5}))
    assert any("utc_offset is -7; standard time there (America/Los_Angeles) is -8" in text for text in found.warnings)


def test_files_that_lack_variables_are_examined_to_the_end(tmp_path):
    path = tmp_path / "FLX_US-Fak.csv"
    frame().drop(columns=["TA_F", "SWC_F_MDS_1"]).assign(USTAR=-9999, WS_F_QC=2).to_csv(path, index=False)
    found, dataset = examine_files(path, site=SITE)
    assert found.verdict == 2 and "air_temperature" not in dataset and "lai" not in dataset
    missing = {one.variable for one in found.variables if any("is not in the file" in text for text in one.said)}
    assert missing == {"air_temperature", "vapour_pressure", "soil_water_content", "lai"}
    wind = next(one for one in found.variables if one.variable == "wind_speed")
    assert (wind.measured, wind.filled, wind.flags) == (0.0, 1.0, "QC 0/0/100 %")
    friction = next(one for one in found.variables if one.variable == "friction_velocity")
    assert friction.stand_in == 1.0 and any("friction_velocity: a stand-in" in remark for remark in found.remarks)
    with pytest.raises(TowerFileError, match="no file"):
        examine_files(tmp_path / "absent.csv")


def test_place_and_heights_of_an_alma_file(tmp_path):
    met, flux = lookalikes.alma(lookalikes.weather(6), tmp_path)
    found, dataset = examine_files(met, flux)
    assert (found.site.name, found.site.canopy_height, found.place) == ("XX-Tst", 0.5, found.site)
    assert abs(found.clock.clock.shift) < 0.1 and dataset["soil_temperature_stand_in"].all()
    (tmp_path / "other").mkdir()
    met, flux = lookalikes.alma(lookalikes.weather(6), tmp_path / "other", official=False, longitude=121.5)
    found, _ = examine_files(met, flux)  # no heights, but a place
    assert found.site is None and found.place == (38.1, 121.5, -8.0)
    assert found.verdict == 2 and any("or longitude = -121.5" in text for text in found.refusals)
    with pytest.raises(TowerFileError, match="or longitude = -121.5"):
        read_tower(met, flux)


def test_what_is_not_usable_is_refused_by_who_goes_on_to_use_it():
    require_usable(examine(SOUND, SITE))
    with pytest.raises(
        TowerFileError, match="US-Fak: not usable: .* 8.0 h later than the sun .*utc_offset = 0 would fit"
    ):
        require_usable(examine(tower(shift=8.0), SITE))


def test_findings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        examine(SOUND).usable = 3  # type: ignore[misc]
