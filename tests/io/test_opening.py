"""Files as they are downloaded and as programs leave them: packed, in other encodings, damaged."""

import gzip

import numpy as np
import pytest

from canveg_jax.io import TowerFileError, read_tower
from canveg_jax.io.formats import csv as csv_module
from canveg_jax.io.formats import csv_threads
from canveg_jax.io.opening import text_file
from tests.io import lookalikes
from tests.io.lookalikes import archive, fluxnet, weather

NAME = "FLX_XX-Tst_FLUXNET2015_FULLSET_HH_2019-2019_1-3"


@pytest.fixture(scope="module")
def data():
    return weather(2)


@pytest.fixture(scope="module")
def text(data):
    return fluxnet(data)


@pytest.fixture(scope="module")
def expected(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / f"{NAME}.csv"
    path.write_text(text)
    return read_tower(path, lai=2.0)


@pytest.fixture
def same(tmp_path, expected):
    """Write bytes, read them as a tower, and compare everything with the plain file."""

    def check(content: bytes, name: str = "tower.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        tower = read_tower(path, lai=2.0)
        for variable in expected.data_vars:
            np.testing.assert_array_equal(tower[variable], expected[variable])
        return tower

    return check


def lines_with(text: str, surplus: str) -> str:
    return "\n".join(line + surplus for line in text.splitlines()) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: b"\xef\xbb\xbf" + t.replace("\n", "\r\n").encode(),
        lambda t: t.replace("\n", "\r").encode(),
        lambda t: t.encode("utf-16"),
        lambda t: t.encode("utf-16-le"),
        lambda t: t.encode("utf-16-be"),
        lambda t: (t.replace("NIGHT", "T_\u00b0C")).encode("latin-1"),
        lambda t: t.replace(".", "!").replace(",", ";").replace("!", ",").encode(),
        lambda t: t.replace(",", ";").encode(),
        lambda t: t.replace(",", "\t").encode(),
        lambda t: lines_with(t, ",").encode(),
        lambda t: lines_with(t, ",,,").encode(),
        lambda t: "\n".join([t.splitlines()[0], *(line + ",,," for line in t.splitlines()[1:])]).encode(),
        lambda t: (t + ",,,\n,,,\n\n\n").encode(),
        lambda t: (t + "\x1a").encode(),
        lambda t: t.replace(",", ", ").encode(),
        lambda t: ("\n\n" + t).encode(),
        lambda t: "\n".join(",".join(f'"{f}"' for f in line.split(",")) for line in t.splitlines()).encode(),
    ],
    ids=[
        "bom-crlf", "cr", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "decimal-commas", "semicolons", "tabs",
        "one-comma", "excel", "excel-rows",
        "empty-rows", "ctrl-z", "spaces", "blank-lines-before", "quoted",
    ],
)  # fmt: skip
def test_what_spreadsheets_and_loggers_leave_reads_the_same(same, text, change):
    same(change(text))


def test_a_column_that_is_there_twice(same, text, tmp_path):
    rows = text.splitlines()
    same("\n".join([rows[0] + ",NIGHT", *(row + ",7" for row in rows[1:])]).encode())  # unused: no matter
    path = tmp_path / "twice.csv"
    path.write_text("\n".join([rows[0] + ",LE_F_MDS", *(row + ",-9999" for row in rows[1:])]))
    where = rows[0].split(",").index("LE_F_MDS") + 1
    with pytest.raises(
        TowerFileError, match=rf"twice.csv: the column 'LE_F_MDS' is there 2 times \(columns {where} and"
    ):
        read_tower(path, lai=2.0)


def test_gzip_and_zip(same, text):
    same(gzip.compress(text.encode()), f"{NAME}.csv.gz")
    same(gzip.compress(text.encode()), "renamed.csv")  # the content decides


def test_the_half_hours_of_an_archive_are_found_by_name(tmp_path, text, expected):
    path = archive(
        tmp_path / "AMF_XX-Tst_FLUXNET_2019.zip",
        **{
            "AMF_XX-Tst_FLUXNET_FULLSET_HH_2019__csv": text,
            "AMF_XX-Tst_FLUXNET_FULLSET_DD_2019__csv": "TIMESTAMP,TA_F\n20190601,1\n",
            "AMF_XX-Tst_FLUXNET_ERA5_HH_1981-2019__csv": "TIMESTAMP_START,TIMESTAMP_END,TA_ERA\n", "README__txt_": "x",
            "AMF_XX-Tst_FLUXNET_BIF_2019__csv": "SITE_ID\n", "AMF_XX-Tst_FLUXNET_AUXMETEO_HH_2019__csv": "a\n",
        },
    )  # fmt: skip
    tower = read_tower(path, lai=2.0)
    np.testing.assert_array_equal(tower["latent_heat"], expected["latent_heat"])
    with pytest.raises(
        TowerFileError, match=r"2019.zip \(AMF_XX-Tst_FLUXNET_FULLSET_HH_2019.csv\) has no column 'TA_X'"
    ):
        read_tower(path, lai=2.0, columns={"air_temperature": "TA_X"})


def test_archives_that_leave_a_choice_or_hold_nothing(tmp_path, text):
    two = archive(tmp_path / "two.zip", a__csv=text, b__csv=text)
    with pytest.raises(
        TowerFileError, match=r"two.zip: the archive holds several files: a.csv, b.csv. Unpack it and give one"
    ):
        read_tower(two, lai=2.0)
    none = archive(tmp_path / "none.zip", AMF_XX_BASE_DD_1__csv="x", notes__pdf=b"%PDF")
    with pytest.raises(
        TowerFileError,
        match=r"none.zip: the archive holds no CSV of half-hours; it holds AMF_XX_BASE_DD_1.csv, notes.pdf",
    ):
        read_tower(none, lai=2.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda t: gzip.compress(t)[:-2000], "the archive is damaged or incomplete"),
        (lambda t: b"PK\x03\x04" + t[:500], "the archive is empty or damaged. Download it again"),
        (lambda t: b"<!DOCTYPE html><html>", "a page of HTML: the download has failed"),
        (lambda t: b"%PDF-1.4 \x00\x01", "expected a CSV; it is a PDF"),
        (lambda t: lookalikes.workbook(lookalikes.bif()), "it is an Excel workbook. Save the sheet as CSV"),
        (lambda t: b"\xd0\xcf\x11\xe0\xa1\xb1", "it is an Excel workbook: save the sheet as CSV"),
        (lambda t: b"\x89HDF\r\n\x1a\n123", "broken.csv: the NetCDF file is damaged or incomplete. Download it again"),
        (lambda t: bytes(range(256)), "expected a CSV; it is no text"),
        (lambda t: b"", "format not recognised; it is empty"),
        (lambda t: t.split(b"\n")[0] + b"\n", "0 row.s.; at least two are needed"),
        (lambda t: t + b"201906030000,2019\n", "row 96 has the time stamp '2019'"),
        (lambda t: t.replace(b"201906010200,", b"201906010200,7,", 1), r"row 3 \(line 5\) has 74 fields, expected 73"),
        (lambda t: t.replace(b"\n", b'\n"', 3), "quotation mark"),
        (lambda t: b"\n".join([t.split(b"\n")[0], *(b"1," + r for r in t.split(b"\n")[1:-1])]),
        "first row has 74 fields, the header 73"),
        (lambda t: b"\n".join([t.split(b"\n")[0], b"," * 72, *t.split(b"\n")[1:]]), "is it a row of units"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused_with_file_cause_and_remedy(tmp_path, text, content, message):
    path = tmp_path / "broken.csv"
    path.write_bytes(content(text.encode()))
    with pytest.raises(ValueError, match=message) as error:
        read_tower(path, lai=2.0)
    assert "broken.csv" in str(error.value)
    for foreign in ("codec", "Errno", "Traceback", "pandas", "Duplicate names"):
        assert foreign not in str(error.value)


def test_an_encrypted_archive(tmp_path, text):
    path = archive(tmp_path / "locked.zip", a__csv=text)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1  # the bit that says: encrypted
    path.write_bytes(bytes(content))
    with pytest.raises(TowerFileError, match="locked.zip: the archive is encrypted. Unpack it"):
        read_tower(path, lai=2.0)


def test_no_such_file(tmp_path):
    with pytest.raises(TowerFileError, match="no file '.*nothing.csv'. Give the path of a tower file"):
        read_tower(tmp_path / "nothing.csv", lai=2.0)


@pytest.mark.parametrize("block", [200, 3000, 1 << 24])
def test_large_files_are_read_in_blocks(same, text, monkeypatch, block):
    monkeypatch.setattr(csv_threads, "LARGE", 1)
    monkeypatch.setattr(csv_threads, "BLOCK", block)
    calls = []
    parse = csv_threads.parse_in_blocks
    monkeypatch.setattr(csv_module, "parse_in_blocks", lambda *a: calls.append(a) or parse(*a))
    same(("# a comment\n\n" + text + "\n\n").encode().replace(b"# a comment\n", b""))
    assert len(calls) == 1
    same(text.replace("\n", "\r").encode())  # without line ends: in one piece
    same(text.encode("utf-16"))
    assert len(calls) == 1
    quoted = text.replace("NIGHT", '"NIGHT\t"').replace("\n201906020000", '\n"201906020000"')
    same(quoted.encode())


def test_blocks_notice_what_a_whole_file_notices(tmp_path, text, monkeypatch):
    monkeypatch.setattr(csv_threads, "LARGE", 1)
    monkeypatch.setattr(csv_threads, "BLOCK", 3000)
    path = tmp_path / "broken.csv"
    path.write_text(text.replace("201906010200,", "201906010200,7,", 1))
    with pytest.raises(TowerFileError, match=r"row 3 \(line 5\) has 74 fields, expected 73"):
        read_tower(path, lai=2.0)
    path.write_text(text.replace("\n", '\n"', 3))
    with pytest.raises(TowerFileError, match="quotation mark"):
        read_tower(path, lai=2.0)


def test_an_unknown_method_of_packing(tmp_path, text):
    path = archive(tmp_path / "strange.zip", a__csv=text)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(signature) + offset] = 97
    path.write_bytes(bytes(content))
    with pytest.raises(TowerFileError, match="strange.zip: .*compression method.*Unpack it"):
        read_tower(path, lai=2.0)


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError])
def test_what_a_reader_raises_is_not_blamed_on_the_file(tmp_path, text, error):
    path = tmp_path / "tower.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(error, match="of the reader"), text_file(path).opened():
        raise error("of the reader")
