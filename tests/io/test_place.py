"""Sites from metadata: BIF / BADM and the scalars of ALMA files."""

import numpy as np
import pandas as pd
import pytest
import yaml

from canveg_jax.io import TowerDataWarning, TowerFileError
from canveg_jax.io.bif import read_bif
from canveg_jax.io.place import read_site
from canveg_jax.io.tower_files import TowerFiles, as_site
from tests.io import lookalikes
from tests.io.lookalikes import archive, bif, weather


@pytest.fixture
def workbook(tmp_path):
    path = tmp_path / "AMF_XX-Tst_BIF_20201005.xlsx"
    path.write_bytes(lookalikes.workbook(bif()))
    return path


def test_the_means_of_a_bif_by_date(workbook):
    metadata = read_bif(workbook)
    heights = metadata.series("GRP_HEIGHTC", "HEIGHTC")
    assert metadata.site == "XX-Tst" and metadata.first("GRP_IGBP", "IGBP") == "CRO"
    assert list(heights.index) == [pd.Timestamp("2019-06-01"), pd.Timestamp("2019-06-12 12:00")]
    np.testing.assert_array_equal(heights, [0.2, 0.8])  # without the standard deviation
    with pytest.raises(TowerFileError, match=r"XX-Tst has no SOIL_DEPTH with a date \(GRP_SOIL\)"):
        metadata.series("GRP_SOIL", "SOIL_DEPTH")


def test_a_site_from_workbook_csv_and_zip(tmp_path, workbook):
    text = tmp_path / "ICOSETC_XX-Tst_BIF_L2.csv"
    bif().to_csv(text, index=False)
    packed = archive(
        tmp_path / "AMF_XX-Tst_BASE-BADM_1-5.zip", AMF_XXANDTst_BIF_1__xlsx=workbook.read_bytes(), x__csv="a"
    )
    for path in (workbook, text, packed):
        site = read_site(path, measurement_height=3.0)
        assert (site.name, site.latitude, site.longitude, site.utc_offset) == ("XX-Tst", 38.1, -121.5, -8.0)
        assert site.canopy_height == pytest.approx(0.74)  # the 90 % quantile of 0.2 and 0.8
    assert read_site(workbook, measurement_height=3.0, canopy_height=1.0, n_layers=1).canopy_height == 1.0


def test_what_metadata_do_not_say_is_named(tmp_path, workbook):
    with pytest.raises(
        TowerFileError, match="does not say measurement_height of the site XX-Tst. Add measurement_height: <number>"
    ):
        read_site(workbook)
    bare = tmp_path / "bare.xlsx"
    bare.write_bytes(lookalikes.workbook(bif(without=("GRP_HEIGHTC", "GRP_LOCATION"))))
    with pytest.raises(TowerFileError, match="does not say latitude, longitude, canopy_height, measurement_height of"):
        read_site(bare)


def test_a_file_of_several_sites_and_files_that_are_none(tmp_path):
    path = tmp_path / "AMF_AA-Flx_BIF_1.xlsx"
    path.write_bytes(lookalikes.workbook(pd.concat([bif(), bif("XX-Oth")])))
    assert read_site(path, "XX-Oth", measurement_height=3.0).name == "XX-Oth"
    for name, expected in ((None, "one site"), ("XX-No", "XX-No")):
        with pytest.raises(
            TowerFileError, match=f"expected metadata of {expected}; it has XX-Tst, XX-Oth. Name one of them"
        ):
            read_site(path, name)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(TowerFileError, match=r"expected metadata \(BIF\) with the columns SITE_ID, .* it has a, b"):
        read_site(other)
    with pytest.raises(TowerFileError, match="the archive holds no BIF; it holds x.csv"):
        read_site(archive(tmp_path / "x.zip", x__csv="a"))
    with pytest.raises(TowerFileError, match="no file '.*none.xlsx'"):
        read_site(tmp_path / "none.xlsx")


def test_a_site_from_alma(tmp_path):
    met, _ = lookalikes.alma(weather(1), tmp_path)
    with pytest.warns(TowerDataWarning, match="does not say its time zone; utc_offset = -8 is that of the longitude"):
        site = read_site(met)
    assert (site.name, site.canopy_height, site.measurement_height, site.utc_offset) == ("XX-Tst", 0.5, 3.0, -8.0)
    lsm, _ = lookalikes.alma(weather(1), tmp_path, official=False)
    site = read_site(lsm, canopy_height=1.0, measurement_height=4.0)  # its zone is named: no warning
    assert site.utc_offset == -8.0 and site.latitude == 38.1


def test_metadata_in_a_configuration(tmp_path, workbook):
    text = f"""
    site: {{metadata: {workbook.name}, measurement_height: 3}}
    forcings: tower.csv
    lai: lai.csv
    canopy_height: {workbook.name}
    """
    files = TowerFiles(**yaml.safe_load(text)).inside(tmp_path)
    site = files.build_site({"n_layers": 1})
    assert site.name == "XX-Tst" and site.measurement_height == 3.0 and site.n_layers == 1
    (tmp_path / "tower.csv").write_text(lookalikes.fluxnet(weather(6)))
    (tmp_path / "lai.csv").write_text("date,lai\n2019-05-25,1\n2019-06-18,3\n")
    record, _ = files.read(site)
    np.testing.assert_allclose(record["lai"].values[[0, -1]], [1 + 2 * (7 + 1 / 96) / 24, 1 + 2 * (13 - 1 / 96) / 24])
    assert float(record["observed_canopy_height"].max()) > 0.4
    table = TowerFiles(
        **yaml.safe_load("{site: US-Bi1, forcings: tower.csv, lai: [[2019-05-25, 1.0], [2019-06-18, 3.0]]}")
    ).inside(tmp_path)
    np.testing.assert_allclose(table.read(site)[0]["lai"], record["lai"])


def test_metadata_as_the_site_itself(workbook):
    assert as_site(str(workbook), {"measurement_height": 3.0}).name == "XX-Tst"
    yaml_file = workbook.parent / "site.yaml"
    yaml_file.write_text(f"metadata: {workbook.name}\nmeasurement_height: 3\n")
    assert as_site(str(yaml_file)).name == "XX-Tst"  # the path starts from the folder of the YAML
    with pytest.raises(ValueError, match="preset and metadata are both given"):
        as_site({"preset": "US-Bi1", "metadata": str(workbook)})


def test_real_metadata(shared):
    folder = shared / "data" / "ameriflux-base"
    if not folder.is_dir():
        pytest.skip("needs the AmeriFlux example files")
    site = read_site(folder / "AMF_US-CRT_BASE-BADM_2-5.zip", measurement_height=3.0)
    assert (site.name, site.latitude, site.utc_offset, site.canopy_height) == ("US-CRT", 41.628495, -5.0, 1.125)
    assert (
        read_site(folder / "AMF_AA-Flx_BIF_CCBY4_20201218.xlsx", "US-Oho", measurement_height=34).canopy_height == 24.45
    )
