"""The table of parameters and the pytree made from it."""

import copy
import dataclasses
import pickle

import jax
import jax.numpy as jnp
import pytest

from canveg_jax import PARAMETER_TABLE, TUNABLE, Parameters, UnknownParameterError

PUBLISHED_NAMES = {  # where the published model calls it otherwise
    "theta_min": "wilting_point", "theta_max": "field_capacity", "extinct": "wind_extinction",
}  # fmt: skip


def test_defaults_are_the_published_ones(arrays, p):
    """Every published scalar that has a namesake has its value."""
    compared = 0
    for key, value in arrays.items():
        name = key.removeprefix("para__")
        name = PUBLISHED_NAMES.get(name, name)
        if key.startswith("para__") and name in PARAMETER_TABLE:
            assert float(getattr(p, name)) == float(value), name
            compared += 1
    assert compared >= 35


def test_tunable_are_the_published_ones_that_act():
    assert len(TUNABLE) == 20 and "rd25" not in PARAMETER_TABLE
    assert {"vcopt", "jmopt", "kball", "bprime", "leaf_clumping_factor", "lleaf", "q10a", "ep"} <= set(TUNABLE)


def test_replace_makes_a_changed_copy():
    p = Parameters(kball=9.0)
    q = p.replace({"vcopt": 50.0})
    assert (float(q.kball), float(q.vcopt), float(p.vcopt)) == (9.0, 50.0, 171.0)
    assert float(Parameters().kball) == 8.17


@pytest.mark.parametrize("make", [lambda: Parameters(vcmax=3.0), lambda: Parameters().replace({"vcop": 3.0})])
def test_unknown_names(make):
    with pytest.raises(UnknownParameterError, match="unknown parameter 'vc"):
        make()


def test_unknown_attribute_is_an_attribute_error_with_a_suggestion():
    with pytest.raises(AttributeError, match="Did you mean 'kball'"):
        Parameters().kbal  # noqa: B018


def test_is_a_pytree_that_copies_and_pickles():
    p = Parameters(kball=9.0)
    assert len(jax.tree.leaves(p)) == len(PARAMETER_TABLE)
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p)), jax.tree.map(lambda x: x, p)):
        assert float(q.kball) == 9.0 and float(q.vcopt) == 171.0
    gradient = jax.grad(lambda p: p.kball**2 * p.vcopt)(p)
    assert float(gradient.kball) == pytest.approx(2 * 9 * 171) and float(gradient.jmopt) == 0


def test_arrays_give_a_parameter_per_half_hour():
    p = Parameters(kball=jnp.array([5.0, 6.0]))
    assert p.kball.shape == (2,) and p.vcopt.shape == ()


def test_whole_numbers_become_floating_point_ones():
    assert Parameters(kball=9).kball.dtype == Parameters().kball.dtype


def test_the_table_and_the_values_are_in_the_order_of_the_declaration():
    names = [field.name for field in dataclasses.fields(Parameters)]
    assert list(PARAMETER_TABLE) == list(Parameters().values) == names
    assert [float(v) for v in jax.tree.leaves(Parameters())] == [info.default for info in PARAMETER_TABLE.values()]
    assert list(TUNABLE) == [name for name in names if PARAMETER_TABLE[name].tunable]


def test_axes_of_vmap_may_stand_in_the_place_of_values():
    p = Parameters(kball=jnp.array([5.0, 6.0]))
    axes = jax.tree.map(lambda x: 0 if x.ndim else None, p)
    assert axes.kball == 0 and axes.vcopt is None
    product = jax.vmap(lambda p: p.kball * p.vcopt, in_axes=(axes,))(p)
    assert product.tolist() == [5.0 * 171.0, 6.0 * 171.0]


def test_every_parameter_has_unit_meaning_and_ordered_bounds():
    for name, info in PARAMETER_TABLE.items():
        assert info.unit and info.meaning and info.lower < info.upper, name
