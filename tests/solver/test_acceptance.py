"""Which rows are solved: one answer, with its reason, computed once."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import canveg_jax as cv
from canveg_jax.forcing import STAND_IN
from canveg_jax.solver.acceptance import SOLVED, reason_not_to_solve, rows_to_solve, with_stand_ins
from canveg_jax.solver.options import Axes

ROWS = 6
NUMBERS = st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, 1e-40, -9999.0, np.nan, np.inf]))


def inputs(dtype=np.float64, by_row: bool = False):
    columns = {name: np.full(ROWS, STAND_IN[name], dtype) for name in cv.FORCING_TABLE}
    slope = np.full(ROWS, 8.0, dtype) if by_row else 8.0
    return columns, np.full((ROWS, 3), 0.7, dtype), jax.tree.map(jnp.asarray, cv.Parameters(kball=slope))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_a_row_is_solved_where_there_is_no_reason_against(dtype, data):
    columns, stress, parameters = inputs(dtype, by_row=True)
    slope = np.array(parameters.kball)
    for row in range(1, ROWS):
        name = data.draw(st.sampled_from([*cv.FORCING_TABLE, "stress", "kball"]))
        into = {"stress": stress[:, 1], "kball": slope}.get(name, columns.get(name))
        into[row] = np.asarray(data.draw(NUMBERS), np.float32)
    parameters = cv.Parameters(kball=jnp.asarray(slope))
    axes = Axes.of(parameters, None, None, site_by_row=False)
    given_ = axes, cv.Forcing(**jax.tree.map(jnp.asarray, columns)), jnp.asarray(stress), parameters
    solved = rows_to_solve(*given_)
    assert bool(solved[0])
    np.testing.assert_array_equal(solved, reason_not_to_solve(*given_) == SOLVED)


def test_ranges_are_compared_once_however_many_loops_read_what_stands_in():
    columns, stress, parameters = inputs()
    axes = Axes.of(parameters, None, None, site_by_row=False)

    def many_loops(forcing, stress):
        usable = rows_to_solve(axes, forcing, stress, parameters)
        calm, factor, _ = with_stand_ins(axes, usable, forcing, stress, parameters)
        read = [getattr(calm, name) for name in cv.FORCING_TABLE]
        return [jnp.cumsum(jnp.sin(a * b + factor[:, 0])) for a in read for b in read]

    forcing = eqx.tree_at(lambda f: f.site, cv.Forcing(**jax.tree.map(jnp.asarray, columns)), None)
    program = jax.jit(many_loops).lower(forcing, jnp.asarray(stress)).compile()
    compared = len(re.findall(r"= \S+ compare\(", program.as_text()))
    assert 0 < compared < 2 * len(cv.FORCING_TABLE)
