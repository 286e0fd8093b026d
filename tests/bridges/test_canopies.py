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
from canveg_jax.solver.acceptance import SITE
from tests.bridges.invented_canopy import invented
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
    assert sizes == ({largest} if largest else {16, 32}), "a planned size has one program for each form"


def test_a_planned_batch_is_solved_in_pieces_of_one_size(sites, long):
    op = invented(TorchCanopies(canopies(sites), ("kball",)))
    op.plan_batches(16)
    batch = {**rows(long, 0, 60), "site": torch.tensor([1] * 40 + [0] * 20)}
    assert torch.equal(op(batch)["LE"].detach(), expected(op, batch))
    assert [solver.bridged.calls for solver in op.groups] == [[16, 16], [16, 16, 16], []]


@pytest.mark.parametrize(
    ("largest", "on_cpu", "on_gpu"), [(5, 8, 8), (100, 64, 128), (1000, 128, 1024), (4096, 512, 4096)]
)
def test_size_of_a_piece(sites, largest, on_cpu, on_gpu):
    op = TorchCanopies(canopies(sites[:2]))
    op.plan_batches(largest)
    assert [op._piece(torch.device(device)) for device in ("cpu", "cuda")] == [on_cpu, on_gpu]


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
    for junk in (None, torch.nan, torch.inf):
        batch = {name: column.clone() for name, column in mixed(long, 40).items()}
        if junk is not None:
            batch["shortwave_in"][5] = junk
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


def pair(sites):
    """One layer and two in one module, and each with its own `TorchCanopy`, whose programs it shares."""
    alone = [TorchCanopy(canopy, ("kball", "q10a")) for canopy in canopies(sites[:2])]
    op = TorchCanopies([single.canopy for single in alone], ("kball", "q10a"))
    op.plan_batches(8)
    assert all(group.bridged is single.solver.bridged for group, single in zip(op.groups, alone, strict=True))
    return op, alone


def mixed_day(long):
    """Sixteen half-hours, one of them broken."""
    batch = {name: column[20:36].clone() for name, column in long.items()} | {"site": torch.tensor([0, 1, 1, 0] * 4)}
    batch["air_temperature"][5] = torch.nan
    return batch


def of_site(batch, site):
    here = batch["site"] == site
    return here, {name: column[here] for name, column in batch.items() if name != "site"}


def test_fluxes_are_those_of_each_canopy(sites, long):
    """Bit for bit, in the order of the batch; a warm start comes back to the same."""
    op, alone = pair(sites)
    batch = mixed_day(long)
    start = torch.full((16, op.state_size), torch.nan, dtype=torch.float64)
    with torch.no_grad():
        out = op(batch, start=start)
        assert out["converged"].tolist() == [i != 5 for i in range(16)] and out["reason"][5] == 1
        for site, single in enumerate(alone):
            here, own = of_site(batch, site)
            for name, value in single(own, start=start[here][:, : single.state_size]).items():
                got = out[name][here][:, : single.state_size] if name == "state" else out[name][here]
                torch.testing.assert_close(
                    got, value, rtol=0, atol=0, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
                )
        used, again = out["converged"], op(batch, start=out["state"])
    assert (again["passes"][used] < out["passes"][used]).all(), "a warm start is nearer"
    torch.testing.assert_close(again["LE"][used], out["LE"][used], rtol=1e-4, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("per_site", [False, True])
def test_gradients_are_those_of_each_canopy(sites, long, per_site):
    """To what is shared the sum of the separate ones; else to each site its own. The broken row has no influence."""
    op, alone = pair(sites)
    if per_site:
        op = TorchCanopies([single.canopy for single in alone], ("kball", "q10a"), per_site=True)
        op.plan_batches(8)
    batch, weights = mixed_day(long), torch.linspace(0.5, 1.5, 16, dtype=torch.float64)
    stress = torch.linspace(0.4, 1.0, 16, dtype=torch.float64, requires_grad=True)
    out = op(batch, stress=stress)
    used = out["converged"]
    ((out["LE"] + 3.0 * out["NEE"]) * weights)[used].sum().backward()
    got = {name: z.grad for name, z in op.raw.items()}
    total = {name: [] for name in op.raw}
    for site, single in enumerate(alone):
        here, own = of_site(batch, site)
        factor = stress.detach()[here].clone().requires_grad_()
        separate = single(own, stress=factor)
        ((separate["LE"] + 3.0 * separate["NEE"]) * weights[here])[separate["converged"]].sum().backward()
        assert torch.equal(stress.grad[here], factor.grad)
        for name, z in single.raw.items():
            total[name].append(z.grad)
    for name, gradients in total.items():
        expected = torch.stack(gradients) if per_site else sum(gradients)
        torch.testing.assert_close(got[name], expected, rtol=1e-13, atol=0)
        assert (got[name] != 0).all()
    assert stress.grad[5] == 0.0


class LeafNetwork(torch.nn.Module):
    """A network in the loop."""

    inputs = ("leaf_vpd", "soil_water_content")

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1), torch.nn.Sigmoid()
        ).double()

    def forward(self, features):
        return self.layers(features)


@pytest.mark.slow
def test_a_network_in_the_loop_is_one_for_all_layers(sites, long):
    network = LeafNetwork()
    alone = [TorchCanopy(canopy, in_loop=network) for canopy in canopies(sites[:2])]
    op, batch = TorchCanopies([single.canopy for single in alone], in_loop=network), mixed_day(long)
    out = op(batch)
    used = out["converged"]
    assert used.sum() == 15
    out["LE"][used].sum().backward()
    got = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    for site, single in enumerate(alone):
        here, own = of_site(batch, site)
        separate = single(own)
        assert torch.equal(separate["in_loop_factor"].nan_to_num(-1), out["in_loop_factor"][here].nan_to_num(-1))
        separate["LE"][separate["converged"]].sum().backward()
    for name, p in network.named_parameters():
        torch.testing.assert_close(got[name], p.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_under_torch_compile_rows_are_divided_outside_of_the_graph(sites, long):
    op, batch = invented(TorchCanopies(canopies(sites), ("kball",))), mixed(long, 30)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(op, backend="eager")(batch)
        for name, value in op(batch).items():
            torch.testing.assert_close(compiled[name], value, rtol=0, atol=0, equal_nan=True)
    torch._dynamo.reset()
