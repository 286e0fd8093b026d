"""Messages about unknown names."""

from canveg_jax.spelling import did_you_mean, unknown

PRESETS = ["US-Bi1", "US-Hn1"]


def test_the_nearest_name_is_proposed():
    assert unknown("site preset", "US-Bi2", PRESETS) == (
        "unknown site preset 'US-Bi2'; there are US-Bi1, US-Hn1. Did you mean 'US-Bi1'?"
    )
    assert unknown("site preset", "US-Bi2", iter(PRESETS), listed_in="SITES") == (
        "unknown site preset 'US-Bi2'. Did you mean 'US-Bi1'? See SITES."
    )


def test_nothing_is_proposed_where_nothing_is_near():
    assert unknown("site preset", "Laegeren", PRESETS) == "unknown site preset 'Laegeren'; there are US-Bi1, US-Hn1."
    assert did_you_mean("Laegeren", PRESETS) == "" and did_you_mean("x", []) == ""


def test_a_name_that_is_no_text():
    assert unknown("key", 3, ["a"]).startswith("unknown key '3'; there are a.")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
