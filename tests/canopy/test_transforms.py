"""Transforms between unconstrained numbers and physical parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canveg_jax import PARAMETER_TABLE, TUNABLE, Parameters, UnknownParameterError, constrain, unconstrain
from canveg_jax.transforms import LARGEST_SUM, OPTICAL_PAIRS, check_names

FIXED = {name: info.default for name, info in PARAMETER_TABLE.items()}
IN_PAIRS = {name for pair in OPTICAL_PAIRS for name in pair}


@pytest.mark.parametrize("name", [n for n in TUNABLE if n not in IN_PAIRS])
@given(share=st.floats(1e-3, 1 - 1e-3))
def test_there_and_back(name, share):
    info = PARAMETER_TABLE[name]
    value = info.lower + share * (info.upper - info.lower)
    back = constrain(unconstrain({name: value}, FIXED), FIXED)
    assert float(back[name]) == pytest.approx(value, rel=1e-12)


@given(rho=st.floats(0.01, 0.9), rest=st.floats(0.01, 0.9))
def test_optical_pair_there_and_back(rho, rest):
    tau = LARGEST_SUM - rho - rest
    if tau < 1e-3:
        return
    for pair in OPTICAL_PAIRS:
        values = dict(zip(pair, (rho, tau), strict=True))
        back = constrain(unconstrain(values, FIXED), FIXED)
        assert [float(back[n]) for n in pair] == pytest.approx([rho, tau], rel=1e-11)


@given(z=st.lists(st.floats(-600, 600), min_size=len(TUNABLE), max_size=len(TUNABLE)))
def test_every_real_number_is_a_physical_parameter(z):
    values = constrain(dict(zip(TUNABLE, map(jnp.asarray, z), strict=True)), FIXED)
    for name, value in values.items():
        info = PARAMETER_TABLE[name]
        if name not in IN_PAIRS:
            assert info.lower <= float(value) <= info.upper
    for pair in OPTICAL_PAIRS:
        rho, tau = (float(values[n]) for n in pair)
        assert rho >= 0 and tau >= 0 and rho + tau <= LARGEST_SUM * (1 + 1e-12)


def test_a_single_optical_parameter_respects_its_fixed_partner():
    fixed = FIXED | {"nir_trans": 0.45}
    top = float(constrain({"nir_reflect": jnp.asarray(700.0)}, fixed)["nir_reflect"])
    assert top == pytest.approx(LARGEST_SUM - 0.45, rel=1e-12)
    back = constrain(unconstrain({"nir_reflect": 0.5}, fixed), fixed)
    assert float(back["nir_reflect"]) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kball": 25.0}, r"'kball' starts at 25.0, outside its training range \(2.0, 20.0\)"),
        ({"kball": 2.0}, "outside its training range"),
        ({"nir_reflect": 0.7, "nir_trans": 0.35}, "sum below 0.999; got 0.7 and 0.35"),
        ({"par_reflect": 0.0, "par_trans": 0.1}, "must be positive"),
    ],
)
def test_a_start_outside_its_range_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        unconstrain(values, FIXED)


def test_unknown_names_are_refused_with_a_suggestion():
    with pytest.raises(UnknownParameterError, match="Did you mean 'kball'"):
        check_names(["kbal"])
    assert check_names(["kball", "vcopt"]) == ("kball", "vcopt")


def test_gradients_point_the_way_of_the_parameter_and_arrays_pass():
    def f(z):
        return constrain({"vcopt": z}, FIXED)["vcopt"]

    assert float(jax.grad(f)(0.3)) > 0
    z = jnp.array([-1.0, 0.0, 2.0])
    values = f(z)
    assert values.shape == (3,) and float(values[1]) == pytest.approx((5 + 300) / 2)
    pair = constrain({"par_reflect": z, "par_trans": z}, FIXED)
    assert pair["par_reflect"].shape == (3,)
    numeric = (f(0.3 + 1e-6) - f(0.3 - 1e-6)) / 2e-6
    assert float(jax.grad(f)(0.3)) == pytest.approx(float(numeric), rel=1e-8)


def test_defaults_lie_inside_their_bounds():
    for name, info in PARAMETER_TABLE.items():
        assert info.lower <= info.default <= info.upper, name
    start = unconstrain({n: FIXED[n] for n in TUNABLE}, FIXED)
    assert all(np.isfinite(v) for v in start.values())
    assert set(Parameters().values) == set(PARAMETER_TABLE)
