"""CSVs: the header, one pass over the columns, numbers and stamps."""

import numpy as np
import pandas as pd
import pytest

from canveg_jax.io import TowerFileError
from canveg_jax.io.formats.csv import TowerCsv, read_header


@pytest.fixture
def written(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "tower.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_the_header_is_the_first_line_that_is_no_comment(written):
    header = read_header(written('# Site: XX\n# Version\n"TIMESTAMP_START" ,TIMESTAMP_END,TA\n1,2,3\n'))
    assert header is not None
    assert header.names == ["TIMESTAMP_START", "TIMESTAMP_END", "TA"]
    assert (header.comments, header.both_stamps, header.stamp, header.calendar) == (2, True, "TIMESTAMP_START", None)


def test_a_byte_order_mark_and_the_calendar(written):
    header = read_header(written("\ufeffYear,DoY,Hour,Timestamp_end\n"))
    assert header is not None
    assert header.calendar == ("Year", "DoY", "Hour") and header.stamp == "Timestamp_end" and not header.both_stamps


def test_a_file_that_is_no_text_has_no_header(written):
    path = written("PNG\x00\x01,\x02\n")
    assert read_header(path) is None
    with pytest.raises(TowerFileError, match="tower.csv: expected a CSV; it is no text"):
        TowerCsv(path)


def test_an_empty_file_has_an_empty_header(written):
    header = read_header(written(""))
    assert header is not None and header.names == [""] and header.stamp is None


def test_a_missing_column_is_named_with_the_nearest(written):
    file = TowerCsv(written("TIMESTAMP_END,LE_CORR\n"))
    assert file.require("LE_CORR") == "LE_CORR"
    with pytest.raises(TowerFileError, match="tower.csv has no column 'LE_COR'. Did you mean 'LE_CORR'"):
        file.require("LE_COR")


ROWS = "TIMESTAMP_END,A,B,C,D\n201901010030,1.5,-9999,x,7\n201901010100,,-9999,2,8\n201901010130,-9999.00,NA,3,9\n"


def test_missing_values_are_nan_and_text_is_refused_only_where_it_is_asked_for(written):
    table = TowerCsv(written(ROWS)).read(["A", "B", "C", None])
    numbers = table.numbers(["A", None])
    assert list(numbers) == ["A"] and numbers["A"].dtype == np.float64
    np.testing.assert_array_equal(numbers["A"], [1.5, np.nan, np.nan])
    with pytest.raises(TowerFileError, match=r"column 'C', row 0 holds 'x'; expected a number"):
        table.numbers(["C"])


def test_all_columns_are_read_in_one_pass(written, monkeypatch):
    calls = []
    read_csv = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *a, **k: calls.append(a) or read_csv(*a, **k))
    table = TowerCsv(written(ROWS)).read(["A", "D"])
    table.numbers(["A"])
    table.numbers(["D", "A"])
    stamps = table.single_stamps()
    assert len(calls) == 1
    assert stamps is not None and stamps[1] == "end" and stamps[0][2] == pd.Timestamp("2019-01-01 01:30")


def test_the_first_candidate_with_data_wins_and_without_any_the_first(written):
    table = TowerCsv(written(ROWS)).read(["A", "B", "D"])
    candidates = {"one": ["B", "D", "A"], "two": ["B"], "three": []}
    assert table.with_data(candidates) == {"one": "D", "two": "B"}


def test_both_ends_of_the_interval(written):
    text = "TIMESTAMP_START,TIMESTAMP_END\n201901010000,201901010030\n201901010030,201901010100\n"
    start, step = TowerCsv(written(text)).read([]).intervals()
    assert step == pd.Timedelta(minutes=30) and start[0] == pd.Timestamp("2019-01-01")
    with pytest.raises(TowerFileError, match="row 1 runs from .* must be one step apart"):
        TowerCsv(written(text.replace("0100\n", "0130\n"))).read([]).intervals()


def test_a_file_without_stamps_has_none(written):
    assert TowerCsv(written("A\n1\n")).read(["A"]).single_stamps() is None
