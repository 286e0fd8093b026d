"""`canveg doctor`: the table, the picture, the exit code; and the short form before training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from canveg_jax.io.doctor import examine
from canveg_jax.synthetic.canopy_towers import write_prepared_csv
from lightning_modules import FluxTowerDataModule
from lightning_modules.cli.doctor import report_text
from lightning_modules.cli.main import main
from lightning_modules.evaluation.doctor_picture import FILLED, MEASURED, MISSING, STAND_IN, _state, doctor_figure
from tests.io.test_doctor import SITE as SOUND_SITE
from tests.io.test_doctor import tower
from tests.lightning.towers import SITE, boring_tower


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("towers")
    forcings, fluxes, _ = write_prepared_csv(folder, SITE, boring_tower(days=8, noise=True))
    site = folder / "site.yaml"
    site.write_text(yaml.safe_dump(SITE.model_dump(mode="json", exclude_none=True)))
    return str(forcings), str(fluxes), str(site)


@pytest.fixture(autouse=True)
def in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_table_picture_and_exit_code(files, tmp_path, capsys):
    forcings, fluxes, site = files
    code = main(["doctor", forcings, fluxes, "--site", site, "--out", "seen.png"])
    printed = capsys.readouterr().out
    assert "half-hours: 384, usable 384 (100.0 %)" in printed and "picture: seen.png" in printed
    for text in (
        "air_temperature",
        "latent_heat",
        "measured or filled",
        "clock: short-wave fits the sun with a shift of",
    ):
        assert text in printed
    ranges = [line for line in printed.splitlines() if line.startswith(("soil_water_content", "nee", "co2"))]
    assert [line.split("  ")[-1].strip() for line in ranges if line.startswith("nee")] == ["measured or filled"]
    assert all(unit in " ".join(ranges) for unit in ("m3 m-3", "umol m-2 s-1", "umol mol-1"))  # whole units
    assert code == (1 if "! " in printed else 0)
    pixels = np.asarray(Image.open(tmp_path / "seen.png").convert("L"))
    assert min(pixels.shape) > 600 and 0.1 < (pixels < 100).mean() < 0.9


def test_the_site_of_a_training_configuration(files, tmp_path, capsys):
    forcings, fluxes, site = files
    tower = {"site": site, "forcings": forcings, "fluxes": fluxes}
    config = {"data": {"towers": [tower], "site_options": {"measurement_height": 4.5}}, "model": {}}
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump(config))
    assert main(["doctor", forcings, fluxes, "--site", "fit.yaml", "--out", "none"]) < 2
    assert f"{SITE.latitude:g} N" in (printed := capsys.readouterr().out) and "measured at 4.5 m" in printed
    config["data"]["towers"].append(tower)
    (tmp_path / "fit.yaml").write_text(yaml.safe_dump(config))
    assert main(["doctor", forcings, fluxes, "--site", "fit.yaml", "--out", "none"]) == 2
    assert "a configuration of 2 towers; expected one" in capsys.readouterr().err


def test_what_cannot_be_used_has_exit_code_2(files, tmp_path, capsys):
    forcings, fluxes, site = files
    wrong = yaml.safe_load(Path(site).read_text()) | {"utc_offset": SITE.utc_offset + 6}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    assert main(["doctor", forcings, fluxes, "--site", "wrong.yaml", "--out", "none"]) == 2
    printed = capsys.readouterr().out
    assert (
        " h earlier than the sun at " in printed
        and f"utc_offset = {SITE.utc_offset:g} would fit" in printed
        and "verdict: not usable" in printed
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "wrong.yaml"]
    pd.read_csv(forcings).drop(columns="eair").to_csv("dry.csv", index=False)
    assert main(["doctor", "dry.csv", "--out", "none"]) == 2
    assert "vapour_pressure is not in the file. Give columns: {vapour_pressure: <column>}" in capsys.readouterr().out
    assert main(["doctor", "absent.csv"]) == 2
    assert "canveg doctor: no file 'absent.csv'" in capsys.readouterr().err
    assert main(["doctor", forcings, "--site", "US-Bi2", "--out", "none"]) == 2
    assert "Did you mean 'US-Bi1'?" in capsys.readouterr().err


def test_verdicts_of_a_sound_and_of_a_doubtful_record():
    text = report_text(examine(tower(), SOUND_SITE))
    assert text.endswith("verdict: usable") and "energy balance: LE + H = 0.80 (Rn - G)" in text and "UTC-8 h" in text
    friction = tower()["friction_velocity"].values.copy()
    friction[:30] = np.nan
    text = report_text(examine(tower(friction_velocity=friction, co2=np.full(1440, 750.0)), SOUND_SITE))
    assert "  friction_velocity: 30 missing, 0 out of range, alone costs 30" in text and "2.1 %" in text
    assert "  ! co2 (column co2) has the median 750" in text and text.endswith("verdict: usable, with warnings")
    unknown = tower()
    assert "heights not given" in report_text(examine(unknown))
    del unknown.attrs["latitude"]
    assert "site: not given" in report_text(examine(unknown))


def test_states_of_the_bars():
    record = tower()
    flag = np.arange(1440) < 10
    measured = record["latent_heat_measured"].copy(data=np.arange(1440) > 4)
    record = record.assign(co2_stand_in=("time", flag), latent_heat_measured=measured)
    assert (_state("co2", record) == np.where(flag, STAND_IN, MEASURED)).all()
    assert (_state("latent_heat", record) == np.where(np.arange(1440) <= 4, FILLED, MEASURED)).all()
    assert (_state("longwave_in", record) == MISSING).all()
    figure = doctor_figure(record.drop_vars("shortwave_in"), examine(record.drop_vars("shortwave_in"), SOUND_SITE))
    assert "0 of 1440 half-hours usable" in figure.axes[1].get_title(loc="left")


def test_training_prints_the_short_form(monkeypatch):
    said = []
    monkeypatch.setattr("lightning_modules.data.datamodule.rank_zero_info", said.append)
    FluxTowerDataModule(datasets=[(SITE, boring_tower(days=8, noise=True))], block_days=1).setup()
    assert any(f"{SITE.name}: 384 of 384 half-hours usable (100.0 %)" in text for text in said)
