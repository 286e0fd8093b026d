"""Sites of different layers in one module: each row is solved by the canopy of its form, and results are in the batch's order.

How rows are divided and put together is tested with an invented solver of one formula; that the real canopies are behind it
with one layer and two, whose programs are those of `TorchCanopy`.
"""

import copy
import pickle

import numpy as np
import pytest
import torch

import canveg_jax as cv
from bridges import ConversionError, TorchCanopies, TorchCanopy, TransformError
from bridges.canopies import PIECES
from bridges.canopy_solver import CanopySolver
from canveg_jax.solver.acceptance import SITE
from tests.bridges.test_canopy import rows, weather
from tests.canopy.synthetic_sites import small_site

LAYERS = (1, 2, 1, 3)
"""Of four sites: three forms, the first of which has two sites."""


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites")
    kinds = ("alfalfa", "forest", "shrub", "alfalfa")
    return [
        small_site(kind, n, folder, lai_scale=0.1 * (i + 1))
        for i, (kind, n) in enumerate(zip(kinds, LAYERS, strict=True))
    ]


@pytest.fixture(scope="module")
def long():
    return weather(2)


def mixed(long, n_rows, seed=0, n_sites=4):
    """Rows of all sites in random order."""
    site = torch.randint(0, n_sites, (n_rows,), generator=torch.Generator().manual_seed(seed))
    return {**rows(long, 0, n_rows), "site": site}


class Formula:
    """In place of the compiled functions: `LE = kball * lai_scale * shortwave * stress + n_layers`, NaN where it is not finite.

    Takes note of the number of rows of each call.
    """

    def __init__(self, solver):
        self.n_layers, self.constrain, self.calls = solver.canopy.site.n_layers, solver.bridged.constrain, []

    def fluxes(self, raw, forcing, stress, site, site_arrays, start, own):
        self.calls.append(len(forcing["lai"]))
        scale, kball = site_arrays["lai_scale"], self.constrain({"kball": raw["kball"]})["kball"]
        index = 0 if site is None else site.long()
        scale = scale if scale.dim() == 0 else scale[index]
        kball = own.get("kball", kball if kball.dim() == 0 else kball[index])
        stress = torch.ones_like(forcing["lai"]) if stress is None else stress
        heat = kball * scale * forcing["shortwave_in"] * stress + self.n_layers
        good = torch.isfinite(heat)
        out = {
            "LE": torch.where(good, heat, torch.nan), "converged": good, "passes": torch.ones_like(good, dtype=torch.int32),
            "reason": torch.where(good, 0, 1).int(),
        }  # fmt: skip
        if start is not None:
            assert start.shape[1] == 5 * self.n_layers + 1
            out["state"] = torch.where(torch.isfinite(start), start + 1.0, float(self.n_layers))
        return out


def invented(module):
    """The module with `Formula` in each of its solvers."""
    for solver in module.modules():
        if isinstance(solver, CanopySolver):
            solver.bridged = Formula(solver)
    return module


def canopies(sites):
    return [cv.Canopy(site) for site in sites]


def expected(module, batch, stress=None):
    """What `Formula` gives, row by row."""
    kball = module.parameter_values()["kball"].detach().double()
    kball = kball[batch["site"]] if module.per_site else kball
    scale = 0.1 * (batch["site"].double() + 1.0)
    return (
        kball * scale * batch["shortwave_in"] * (1.0 if stress is None else stress)
        + torch.tensor(LAYERS)[batch["site"]]
    )


@pytest.mark.parametrize("per_site", [False, True])
@pytest.mark.parametrize("largest", [None, 64, 8])
def test_each_row_has_the_canopy_of_its_site(sites, long, per_site, largest):
    op = invented(TorchCanopies(canopies(sites), ("kball",), per_site=per_site))
    if largest:
        op.plan_batches(largest)
    if per_site:
        with torch.no_grad():
            op.raw["kball"].add_(torch.tensor([-0.5, 0.0, 0.5, 1.0]))
    batch, stress = mixed(long, 60), torch.linspace(0.1, 1.0, 60, dtype=torch.float64)
    out = op(batch, stress=stress)
    torch.testing.assert_close(out["LE"].detach(), expected(op, batch, stress), rtol=1e-14, atol=0)
    assert out["converged"].all() and out["passes"].dtype == torch.int32
    sizes = {size for solver in op.groups for size in solver.bridged.calls}
    assert sizes == ({8} if largest else {16, 32}), "a planned size has one program for each form"


def test_a_planned_batch_is_solved_in_pieces_of_an_eighth(sites, long):
    op = invented(TorchCanopies(canopies(sites), ("kball",)))
    op.plan_batches(PIECES * 16)
    batch = {**rows(long, 0, 60), "site": torch.tensor([1] * 40 + [0] * 20)}
    assert torch.equal(op(batch)["LE"].detach(), expected(op, batch))
    assert [solver.bridged.calls for solver in op.groups] == [[16, 16], [16, 16, 16], []]


@pytest.mark.parametrize("per_site", [False, True])
def test_gradients_are_the_sums_over_each_sites_rows(sites, long, per_site):
    op = invented(TorchCanopies(canopies(sites), ("kball",), per_site=per_site))
    batch = mixed(long, 60)
    batch["site"][batch["site"] == 3] = 0
    op(batch)["LE"].sum().backward()
    z = op.raw["kball"].detach().clone().requires_grad_()
    values = op._solvers[0].bridged.constrain({"kball": z})["kball"]
    by_row = 0.1 * (batch["site"].double() + 1.0) * batch["shortwave_in"]
    (values[batch["site"]] * by_row if per_site else values * by_row).sum().backward()
    torch.testing.assert_close(op.raw["kball"].grad, z.grad, rtol=1e-13, atol=0)
    if per_site:
        assert (op.raw["kball"].grad != 0).tolist() == [True, True, True, False], (
            "none to a site that is not in the batch"
        )


def test_a_row_that_the_loss_leaves_out_has_no_influence(sites, long):
    op, gradients = invented(TorchCanopies(canopies(sites), ("kball",), per_site=True)), []
    for junk in (None, torch.nan, -9999.0):
        batch = {name: column.clone() for name, column in mixed(long, 40).items()}
        if junk is not None:
            batch["shortwave_in"][5] = junk if junk != junk else torch.inf
        op.zero_grad()
        out = op(batch)
        assert bool(out["converged"][5]) == (junk is None) and out["converged"].sum() == 40 - (junk is not None)
        used = out["converged"] & (torch.arange(40) != 5)
        out["LE"][used].square().mean().backward()
        gradients.append(op.raw["kball"].grad.clone())
    assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])


def test_rows_of_unknown_sites_are_not_solved(sites, long):
    op = invented(TorchCanopies(canopies(sites), ("kball",)))
    batch = mixed(long, 30)
    batch["site"][[3, 4]] = torch.tensor([-1, 4])
    start = torch.full((30, op.state_size), torch.nan, dtype=torch.float64)
    out = op(batch, start=start)
    known = torch.ones(30, dtype=torch.bool)
    known[[3, 4]] = False
    assert torch.equal(out["converged"], known) and out["reason"][[3, 4]].tolist() == [SITE, SITE]
    assert out["LE"][~known].isnan().all() and out["state"][~known].isnan().all()
    good = {name: column[known] for name, column in batch.items()}
    assert torch.equal(out["LE"][known].detach(), expected(op, good))
    out["LE"][known].sum().backward()
    assert torch.isfinite(op.raw["kball"].grad)
    nowhere = op({**batch, "site": torch.full((30,), 7)})
    assert (nowhere["reason"] == SITE).all() and nowhere["LE"].isnan().all()


def test_states_are_as_wide_as_the_largest_and_come_back(sites, long):
    """Numbers beyond the unknowns of a site are NaN, whatever was given there."""
    op, batch = invented(TorchCanopies(canopies(sites), ("kball",))), mixed(long, 30)
    assert op.state_size == 16
    first = op(batch, start=torch.full((30, 16), torch.nan, dtype=torch.float64))["state"]
    unknowns = 5 * torch.tensor(LAYERS)[batch["site"]] + 1
    within = torch.arange(16) < unknowns[:, None]
    assert torch.equal(torch.isfinite(first), within)
    assert torch.equal(first[:, 0], torch.tensor(LAYERS)[batch["site"]].double())
    second = op(batch, start=torch.where(within, first, 1e9))["state"]
    assert torch.equal(second[within], first[within] + 1.0) and second[~within].isnan().all()


def test_moved_parameters_belong_to_their_rows(sites, long):
    op, batch = invented(TorchCanopies(canopies(sites), ("kball",), per_site=True)), mixed(long, 30)
    with torch.no_grad():
        op.raw["kball"].add_(torch.tensor([-0.5, 0.0, 0.5, 1.0]))
    factor = torch.linspace(0.5, 1.5, 30, dtype=torch.float64)
    values = op.moved_parameters(factors={"kball": factor}, site=batch["site"])
    out = op(batch, parameters=values)["LE"]
    torch.testing.assert_close(
        (out - torch.tensor(LAYERS)[batch["site"]]).detach(),
        (expected(op, batch) - torch.tensor(LAYERS)[batch["site"]]) * factor, rtol=1e-12, atol=1e-12,
    )  # fmt: skip


def test_a_batch_of_one_form_and_an_empty_batch(sites, long):
    op = invented(TorchCanopies(canopies(sites), ("kball",)))
    batch = {**rows(long, 0, 12), "site": torch.full((12,), 1)}
    assert torch.equal(op(batch)["LE"].detach(), expected(op, batch))
    assert [len(solver.bridged.calls) for solver in op.groups] == [0, 1, 0]
    empty = op({name: column[:0] for name, column in batch.items()}, start=torch.zeros(0, 16, dtype=torch.float64))
    assert {name: len(value) for name, value in empty.items()} == dict.fromkeys(op(batch, start=torch.zeros(12, 16)), 0)
    assert empty["state"].shape == (0, 16)


def test_precision_is_that_of_the_forcing(sites, long):
    op = invented(TorchCanopies(canopies(sites), ("kball",)))
    batch = {name: column.float() if column.is_floating_point() else column for name, column in mixed(long, 30).items()}
    out = op(batch)
    assert out["LE"].dtype == torch.float32
    out["LE"].sum().backward()
    assert op.raw["kball"].grad.dtype == torch.float64


def test_the_state_dict_is_that_of_one_canopy(sites):
    """So checkpoints of both are alike; sites of one form come back in the same order."""
    network = torch.nn.Linear(1, 1)
    network.inputs = ("leaf_vpd",)
    several = TorchCanopies(canopies(sites), ("kball", "vcopt"), torch.nn.Linear(2, 1), in_loop=network, per_site=True)
    one = TorchCanopy(cv.Canopy(sites[0]), ("kball", "vcopt"), torch.nn.Linear(2, 1), in_loop=network)
    assert list(several.state_dict()) == list(one.state_dict())
    assert [name for name, _ in several.named_parameters()] == [name for name, _ in one.named_parameters()]
    assert several.raw["kball"].shape == (4,) and several.parameter_values()["vcopt"].shape == (4,)
    for i, site in enumerate(sites):
        alone = TorchCanopy(cv.Canopy(site))
        for name, value in alone.site_constants(0).items():
            np.testing.assert_array_equal(several.site_constants(i)[name], value)


def test_constants_and_copies(sites):
    op = TorchCanopies(canopies(sites), ("kball",))
    fixed = op.fixed_constants()
    assert "kball" not in fixed and fixed["vcopt"] == cv.Parameters().vcopt
    scales = [fixed[f"site constant lai_scale of {form}"] for form in dict.fromkeys(site.form for site in sites)]
    np.testing.assert_allclose(np.concatenate([np.atleast_1d(s) for s in scales]), [0.1, 0.3, 0.2, 0.4])
    for other in (copy.deepcopy(op), pickle.loads(pickle.dumps(op))):
        assert torch.equal(other.raw["kball"], op.raw["kball"]) and other.raw["kball"] is not op.raw["kball"]
        assert all(a.bridged is b.bridged for a, b in zip(op.groups, other.groups, strict=True))
    meta = copy.deepcopy(op).to("meta")
    assert all(buffer.device.type == "meta" for buffer in meta.buffers())


def test_several_sites_of_a_canopy_count_as_they_are_given(sites, long):
    """The first canopy has the sites 0 and 2 of the others."""
    op = invented(
        TorchCanopies([cv.Canopy([sites[0], sites[2]]), cv.Canopy(sites[1]), cv.Canopy(sites[3])], ("kball",))
    )
    assert [site.name for site in op.sites] == ["alfalfa", "shrub", "forest", "alfalfa"]
    one_by_one, batch = invented(TorchCanopies(canopies(sites), ("kball",))), mixed(long, 30)
    same = {**batch, "site": torch.tensor([0, 2, 1, 3])[batch["site"]]}
    assert torch.equal(op(same)["LE"], one_by_one(batch)["LE"])


def test_what_is_refused(sites, long):
    with pytest.raises(ValueError, match="expected at least one"):
        TorchCanopies([])
    with pytest.raises(ValueError, match="that of forest differs from that of alfalfa in parameters, conductance"):
        TorchCanopies([cv.Canopy(sites[0]), cv.Canopy(sites[1], cv.Parameters(kball=9.0), conductance="medlyn")])
    with pytest.raises(cv.UnknownParameterError, match="Did you mean 'kball'"):
        TorchCanopies(canopies(sites), ("kbal",))
    op, batch = invented(TorchCanopies(canopies(sites), ("kball",))), mixed(long, 10)
    with pytest.raises(cv.ForcingError, match="forcing lacks 'site': give the index .* 0 to 3"):
        op(rows(long, 0, 10))
    with pytest.raises(ValueError, match=r"numbers of layers \(1, 2, 3\); got \[10, 2\]"):
        op(batch, stress=torch.ones(10, 2))
    with pytest.raises(ValueError, match=r"start must have shape \[time, 16\].* got \[10, 6\]"):
        op(batch, start=torch.ones(10, 6))
    with pytest.raises(ConversionError, match=r"TorchCanopies .* but stress has shape \(11,\)"):
        op(batch, stress=torch.ones(11))
    with pytest.raises(TransformError, match="vmap over 'site'"):
        torch.func.vmap(lambda site: op({**batch, "site": site})["LE"])(batch["site"].expand(2, 10))


def test_layers_of_a_stress_where_they_are_the_same(tmp_path, long):
    """Forms that differ in their soil only."""
    pair = [small_site("alfalfa", 2, tmp_path, soil_heat=heat) for heat in ("storage", "conduction")]
    op = TorchCanopies(canopies(pair))
    seen = []
    for solver in op.groups:
        solver.bridged = copy.copy(solver.bridged)
        solver.bridged.fluxes = lambda raw, forcing, stress, *_: seen.append(stress) or {"LE": stress[:, 1]}
    stress = torch.linspace(0.1, 1.0, 40, dtype=torch.float64).reshape(20, 2)
    assert torch.equal(op(mixed(long, 20, n_sites=2), stress=stress)["LE"], stress[:, 1])
    assert all(s.shape[1] == 2 for s in seen) and len(seen) == 2


# --- the canopies themselves


@pytest.fixture(scope="module")
def real(sites):
    """One layer and two, each with its own `TorchCanopy`, whose program it shares."""
    pair = canopies(sites[:2])
    op = TorchCanopies(pair, ("kball", "q10a"))
    op.plan_batches(64)  # pieces of 8 rows
    return op, [TorchCanopy(canopy, ("kball", "q10a")) for canopy in pair]


def test_fluxes_and_gradients_are_those_of_each_canopy(real, long):
    """Bit for bit the fluxes, in the batch's order; the gradients to what is shared are the sum of the separate ones. One row
    is broken."""
    op, alone = real
    assert all(group.bridged is single.solver.bridged for group, single in zip(op.groups, alone, strict=True))
    batch = {name: column[20:36] for name, column in long.items()} | {"site": torch.tensor([0, 1, 1, 0] * 4)}
    batch["air_temperature"] = batch["air_temperature"].clone()
    batch["air_temperature"][5] = torch.nan
    start = torch.full((16, op.state_size), torch.nan, dtype=torch.float64)
    op.zero_grad()
    out = op(batch, start=start)
    assert out["converged"].tolist() == [i != 5 for i in range(16)] and out["reason"][5] == 1
    used = out["converged"]
    weights = torch.linspace(0.5, 1.5, 16, dtype=torch.float64)
    ((out["LE"] + 3.0 * out["NEE"]) * weights)[used].sum().backward()
    total = {name: torch.zeros(()) for name in op.raw}
    for i, single in enumerate(alone):
        here = batch["site"] == i
        own = {name: column[here] for name, column in batch.items() if name != "site"}
        single.zero_grad()
        separate = single(own, start=start[here][:, : single.state_size])
        for name, value in separate.items():
            got = out[name][here]
            got = got[:, : single.state_size] if name == "state" else got
            torch.testing.assert_close(got, value, rtol=0, atol=0, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}")
        ((separate["LE"] + 3.0 * separate["NEE"]) * weights[here])[separate["converged"]].sum().backward()
        total = {name: total[name] + z.grad for name, z in single.raw.items()}
    for name, z in op.raw.items():
        torch.testing.assert_close(z.grad, total[name], rtol=1e-14, atol=0)
        assert z.grad != 0
    again = op(batch, start=out["state"])
    assert (again["passes"][used] < out["passes"][used]).all(), "a warm start is nearer"
    torch.testing.assert_close(again["LE"][used], out["LE"][used], rtol=1e-4, atol=1e-2)
