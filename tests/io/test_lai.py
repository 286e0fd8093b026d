"""Leaf area from numbers, columns and tables of dates, and canopy heights likewise."""

import datetime
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from canveg_jax.io import TowerDataWarning, TowerFileError, read_tower
from canveg_jax.io.heights import canopy_height
from canveg_jax.io.lai import interpolated, lai_table, leaf_area_index
from canveg_jax.io.lai_files import read_lai_table
from canveg_jax.io.tower_dataset import Column
from tests.io import lookalikes

START = pd.date_range("2019-06-01", periods=48 * 40, freq="30min")
STEP = pd.Timedelta(minutes=30)
DATES = ["2019-05-25", "2019-06-10", "2019-07-20"]
NUMBERS = [1.0, 2.0, 4.0]
MIDDLE = START + STEP / 2


def drawn(lai):
    return leaf_area_index(lai, "t.csv (test)", START, STEP)


@pytest.fixture
def own_csv(tmp_path):
    path = tmp_path / "lai.csv"
    path.write_text(
        "# surveys\ndate,lai\n" + "".join(f"{d},{n}\n" for d, n in zip(DATES, NUMBERS, strict=True)) + "2019-08-01,NA\n"
    )
    return path


EXPECTED = np.interp((MIDDLE - pd.Timestamp("2019-05-25")) / pd.Timedelta(days=1), [0, 16], [1.0, 2.0])
EARLY = MIDDLE < pd.Timestamp("2019-06-10")


def test_every_way_of_giving_a_table_of_dates_is_the_same(own_csv):
    series = pd.Series(NUMBERS, index=pd.to_datetime(DATES))
    pairs = list(zip(DATES, NUMBERS, strict=True))
    ways = {
        "series": series, "text dates": pd.Series(NUMBERS, index=DATES), "unsorted": series.iloc[::-1],
        "frame": series.to_frame("x"),
        "columns": pd.DataFrame({"date": DATES, "LAI": NUMBERS}).rename(columns=str.lower), "mapping": dict(pairs),
        "days": dict(zip([datetime.date.fromisoformat(d) for d in DATES], NUMBERS, strict=True)), "pairs": pairs,
        "mappings": [{"date": d, "lai": n} for d, n in pairs], "one by one": [{d: n} for d, n in pairs],
        "compact": pd.Series(NUMBERS, index=[int(d.replace("-", "")) for d in DATES]), "file": own_csv,
        "name of a file": str(own_csv),
        "yaml": yaml.safe_load("\n".join(f"- [{d}, {n}]" for d, n in pairs)),
    }  # fmt: skip
    for way, lai in ways.items():
        values = drawn(lai).values
        np.testing.assert_allclose(values[EARLY], EXPECTED[EARLY], rtol=1e-12, err_msg=way)
        assert np.isnan(values[~EARLY]).all(), way  # 40 days from June to July


def test_gaps_are_reported():
    column = drawn(dict(zip(DATES, NUMBERS, strict=True)))
    assert column.attributes["samples_missing"] == int((~EARLY).sum())
    assert (
        "missing in 1488 of 1920 half-hours, 2019-06-10 to 2019-07-10: dates up to 30 days apart"
        in column.attributes["gaps"]
    )
    assert "gaps" not in drawn(2.0).attributes and "samples_missing" not in drawn(2.0).attributes


def test_dates_that_are_met_are_there_whatever_the_gaps():
    moments = pd.DatetimeIndex(["2019-01-01", "2019-02-15", "2019-03-01", "2019-03-02"])
    dates = pd.DatetimeIndex(["2019-01-01", "2019-03-01"])
    np.testing.assert_array_equal(interpolated(dates, np.array([1.0, 3.0]), moments, 30), [1.0, np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(interpolated(dates[:1], np.array([1.0]), moments, 30), [1.0, np.nan, np.nan, np.nan])
    assert np.isnan(interpolated(dates[:0], np.array([]), moments, 30)).all()


def test_a_sparse_column_is_drawn_between_its_numbers():
    values = np.full(len(START), np.nan)
    values[:: 48 * 8] = [1.0, 2.0, 3.0, 2.0, 1.0]
    column = drawn(Column(values, "LAI8"))
    assert np.isfinite(column.values).all()
    np.testing.assert_allclose(column.values[48 * 4], 1.5)
    np.testing.assert_allclose(column.values[-1], 1.0)  # a composite holds for its own eight days
    assert column.attributes["samples_interpolated"] == len(START) - 5
    values[48 * 8 :] = np.nan
    assert np.isnan(drawn(Column(values, "LAI8")).values[1:]).all()


@pytest.mark.parametrize("scale", [10.0, 10])
def test_raw_modis_is_divided_by_ten_and_said(scale):
    column = drawn(dict(zip(DATES, [x * scale for x in NUMBERS], strict=True)))
    np.testing.assert_allclose(column.values[EARLY], EXPECTED[EARLY], rtol=1e-12)
    assert "reaches 40, which is raw MODIS in tenths" in column.attributes["converted"]
    np.testing.assert_allclose(drawn(Column(np.full(len(START), 25.0), "x")).values, 2.5)


def test_fill_values_of_modis_are_missing():
    values = np.where(np.arange(len(START)) < 200, 25.3, 2.0)
    column = drawn(Column(values, "LAI"))
    assert (
        int(np.isnan(column.values).sum()) == 200
        and "200 fill value(s) of MODIS (25.3)" in column.attributes["converted"]
    )


@pytest.mark.parametrize(
    ("lai", "message"),
    [
        (None, r"t.csv \(test\) has no leaf area index. Give lai=<number>, lai=<a table of dates"),
        (13.0, "lai must be a number from 0 to 12 m2 m-2; got 13"),
        (True, "got bool"),
        (np.full(3, 2.0), "got ndarray. An array has no dates"),
        ({"spring": 2.0}, "entry 0 has the date 'spring'; expected YYYY-MM-DD"),
        ({"2019-05-25": "much"}, "entry 0 holds 'much'; expected a number"),
        ([["2019-05-25", 1.0, 2.0]], r"entry 0 of the list is \['2019-05-25', 1.0, 2.0\]; expected \[date, number\]"),
        ([["2019-05-25", 1.0], ["2019-05-25", 2.0]], "each date once"),
        ({"2019-05-25": -1.0}, "no negative values"),
        (pd.DataFrame({"a": [1], "b": [2]}), "the table has the columns a, b; expected `date` and `lai`"),
        ("nothing.csv", "there is no file 'nothing.csv'"),
        ({"2019-05-25": 400.0, "2019-06-02": 300.0}, "reaches 400; expected m2 m-2, 0 to 12"),
    ],
)
def test_what_is_no_leaf_area_is_refused(lai, message):
    with pytest.raises(TowerFileError, match=message):
        drawn(lai)


def modis(tmp_path, text, name="MCD15A3H_subset.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_lai_table(path)


def test_a_modis_subset(tmp_path):
    numbers = {"A2019145": 10, "A2019149": 20, "A2019153": 253, "A2019157": 30, "A2019161": 90, "A2019165": 32}
    series = modis(tmp_path, lookalikes.modis_rows(numbers, {"A2019149": 0, "A2019161": 1}))
    # the third is a fill value: the mean of its neighbours (40); the fifth is of the backup algorithm: left out
    assert list(series.index[:3]) == [
        pd.Timestamp("2019-05-25"),
        pd.Timestamp("2019-05-29"),
        pd.Timestamp("2019-06-02"),
    ]
    np.testing.assert_allclose(series, [1.5, 2.0, 3.0, 3.2, 3.1])  # running median over three of 1, 2, 4, 3, 3.2


def test_a_modis_subset_that_is_scaled_already(tmp_path):
    rows = lookalikes.modis_rows({"A2019145": 10, "A2019149": 20, "A2019153": 30}, side=3).splitlines()
    scaled = "\n".join(",".join([*row.split(",")[:5], *(str(int(p) / 10) for p in row.split(",")[5:])]) for row in rows)
    np.testing.assert_allclose(
        modis(tmp_path, scaled.replace("4.0", "F"), "filtered_scaled_Lai_500m.csv"), [1.5, 2.0, 2.5]
    )


def test_a_modis_subset_without_a_number(tmp_path):
    with pytest.raises(TowerFileError, match="MODIS subset of 1 rows without one usable leaf area"):
        modis(tmp_path, lookalikes.modis_rows({"A2019145": 255}, side=1))


def test_other_tables(tmp_path):
    with pytest.raises(
        TowerFileError,
        match="expected a table with the columns date and lai, or a MODIS subset of ORNL; its columns are a, b",
    ):
        modis(tmp_path, "a,b\n1,2\n")
    with pytest.raises(TowerFileError, match="the table of leaf area is empty"):
        modis(tmp_path, "\n")
    path = tmp_path / "bif.xlsx"
    path.write_bytes(lookalikes.workbook(lookalikes.bif()))
    np.testing.assert_allclose(read_lai_table(path), [1.5, 2.5])
    path = tmp_path / "bif.csv"
    lookalikes.bif().to_csv(path, index=False)
    np.testing.assert_allclose(lai_table(path)[0], [1.5, 2.5])


def test_through_the_front_door(tmp_path, own_csv):
    path = tmp_path / "tower.csv"
    data = lookalikes.weather(4)
    path.write_text(lookalikes.fluxnet(data, LAI8=np.where(np.arange(192) % 96 == 0, 2.0, np.nan)))
    assert read_tower(path, lai="LAI8")["forcing_complete"].all()
    tower = read_tower(path, lai=own_csv)
    np.testing.assert_allclose(tower["lai"], EXPECTED[:192], rtol=1e-12)
    assert tower["lai"].attrs["source_column"] == "lai.csv, linear between dates"
    with pytest.warns(
        TowerDataWarning, match="tower.csv: leaf area .* is missing in 95 of 192 half-hours, 2019-06-01 to 2019-06-02"
    ):
        assert int(read_tower(path, lai={"2019-06-02 23:45": 1.0, "2019-06-08": 2.0})["forcing_complete"].sum()) == 97
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        read_tower(path, lai={"2019-05-25": 15.0, "2019-06-08": 20.0})
    assert ["raw MODIS" in str(warning.message) for warning in record] == [True]


def test_canopy_heights_in_time(tmp_path):
    path = tmp_path / "AMF_XX-Tst_BIF_20201005.xlsx"
    path.write_bytes(lookalikes.workbook(lookalikes.bif()))
    column = canopy_height(path, "XX-Tst", START, STEP)
    # 0.064 m is a standard deviation; 0.2 m on 1 June, 0.8 m on 12 June at noon
    np.testing.assert_allclose(column.values[[24]], 0.2 + 0.6 * (0.5 + 1 / 96) / 11.5, rtol=1e-12)
    assert np.isnan(column.values[MIDDLE > pd.Timestamp("2019-06-12 12:00")]).all()
    np.testing.assert_allclose(canopy_height(0.7, None, START, STEP).values, 0.7)
    surveys = tmp_path / "heights.csv"
    surveys.write_text("date,canopy_height\n2019-05-01,1\n2019-08-01,1\n")
    np.testing.assert_allclose(canopy_height(Path(surveys), None, START, STEP).values, 1.0)
    with pytest.raises(TowerFileError, match="canopy_height .* must be between 0 and 100 m; got 120"):
        canopy_height(120, None, START, STEP)
    tower = tmp_path / "tower.csv"
    tower.write_text(lookalikes.fluxnet(lookalikes.weather(2)))
    heights = read_tower(tower, lai=2.0, canopy_height={"2019-05-25": 0.3, "2019-07-01": 0.3})["observed_canopy_height"]
    np.testing.assert_allclose(heights, 0.3)
