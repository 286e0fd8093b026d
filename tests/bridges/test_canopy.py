"""The canopy as a torch module: batches, devices, life time."""

import gc
import pickle
import re
import weakref

import pytest
import torch

import canveg_jax as cv
from bridges import ConversionError, TorchCanopy
from canveg_jax.synthetic import synthetic_weather
from tests.canopy.synthetic_sites import small_site

SITE = cv.Site.named("US-Bi1", n_layers=1)
TIGHT = cv.SolverOptions(tolerance=1e-10, adjoint_tolerance=1e-12)
needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def weather(days: int) -> dict[str, torch.Tensor]:
    """Synthetic half-hours of a site in summer, as tensors."""
    record = synthetic_weather(SITE, days=days, seed=1, aridity=0.6, start="2019-06-01")
    return {name: torch.tensor(record[name].values) for name in cv.FORCING_TABLE if name in record}


def rows(forcing: dict[str, torch.Tensor], first: int, last: int) -> dict[str, torch.Tensor]:
    return {name: column[first:last] for name, column in forcing.items()}


def solved(module: TorchCanopy, forcing: dict, stress: torch.Tensor, device: str) -> dict[str, torch.Tensor]:
    """Fluxes on a device, and the gradients of their weighted sum to every tunable parameter and the stress; on the CPU."""
    module = module.to(device)
    module.zero_grad()
    factor = stress.detach().clone().to(device).requires_grad_()
    out = module({name: column.to(device) for name, column in forcing.items()}, stress=factor)
    fluxes = {name: value for name, value in out.items() if name in cv.Fluxes.__dataclass_fields__}
    weights = torch.linspace(0.5, 1.5, len(factor), dtype=factor.dtype, device=device)
    sum((value * weights).sum() for value in fluxes.values() if value.requires_grad).backward()
    results = {**out, **{f"d {name}": z.grad for name, z in module.raw.items()}, "d stress": factor.grad}
    assert all(tensor.device.type == device for tensor in results.values())
    return {name: tensor.detach().cpu().clone() for name, tensor in results.items()}


@pytest.mark.parametrize("n_rows", [15, 16], ids=["padded", "not padded"])
@pytest.mark.parametrize("what", ["shortwave_in", "air_temperature", "stress", "start", "site"])
def test_a_column_with_another_number_of_rows_is_refused_by_name(n_rows, what):
    module = TorchCanopy(cv.Canopy(SITE))
    long = weather(2)
    batch = {**rows(long, 0, n_rows), "site": torch.zeros(n_rows, dtype=torch.int32)}
    others = {"stress": torch.ones(n_rows), "start": torch.full((n_rows, module.state_size), torch.nan)}
    if what in others:
        others[what] = others[what].new_ones(55, *others[what].shape[1:])
        name = what
    elif what == "site":
        batch[what], name = torch.zeros(55, dtype=torch.int32), what
    else:
        batch[what], name = long[what][:55], f"forcing['{what}']"
    message = re.escape(f"which is {n_rows} for") + ".*" + re.escape(f"but {name} has shape (55")
    with pytest.raises(ConversionError, match=message):
        module(batch, **others)


def test_canopies_that_differ_in_their_sites_only_share_their_programs():
    first, second = (
        TorchCanopy(cv.Canopy(SITE)),
        TorchCanopy(cv.Canopy(cv.Site.named("US-Hn1", n_layers=1)), ("kball",)),
    )
    assert first.solver.bridged is second.solver.bridged is pickle.loads(pickle.dumps(first)).solver.bridged
    others = [
        cv.Canopy(SITE, cv.Parameters(kball=9.0)),
        cv.Canopy(SITE, options=TIGHT),
        cv.Canopy(SITE, stress="soil_moisture"),
        cv.Canopy(SITE, smooth_colimitation=True),
        cv.Canopy([SITE, SITE]),
    ]
    assert all(TorchCanopy(canopy).solver.bridged is not first.solver.bridged for canopy in others)
    assert TorchCanopy(first.canopy, per_site=True).solver.bridged is not first.solver.bridged


@pytest.mark.slow
def test_a_trained_canopy_is_freed_with_its_programs():
    def trained() -> list[weakref.ref]:
        module = TorchCanopy(cv.Canopy(SITE), tunable=("kball",))
        stress = torch.full((8,), 0.8, dtype=torch.float64, requires_grad=True)
        module(rows(weather(1), 20, 28), stress=stress)["LE"].sum().backward()
        operation = module.solver.bridged.fluxes.operation
        return [weakref.ref(x) for x in (module, operation, *(k for k, _ in operation._kernels.values()))]

    references = trained()
    gc.collect()
    assert len(references) == 3 and all(reference() is None for reference in references)


@pytest.mark.slow
def test_the_canopy_compiles_to_one_graph():
    """Without a break, with arguments that are None."""
    module, batch = TorchCanopy(cv.Canopy(SITE), tunable=("kball",)), rows(weather(1), 16, 32)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(module, fullgraph=True, backend="eager")(batch)
        for name, value in module(batch).items():
            torch.testing.assert_close(compiled[name], value, rtol=0, atol=0, equal_nan=True)
    torch._dynamo.reset()


class TestGpu:
    pytestmark = needs_gpu

    def test_values_and_gradients_equal_the_cpu(self):
        """To 1e-9 of the largest of each, in float64: every flux, every tunable parameter, the stress of every row."""
        forcing = rows(weather(2), 10, 74)
        module = TorchCanopy(cv.Canopy(SITE, options=TIGHT), tunable=cv.TUNABLE)
        stress = torch.linspace(0.3, 1.0, 64, dtype=torch.float64)
        cpu, gpu = (solved(module, forcing, stress, device) for device in ("cpu", "cuda"))
        assert cpu["converged"].all() and torch.equal(cpu["converged"], gpu["converged"])
        for name in cpu.keys() - {"converged", "residual", "passes"}:
            bound = 1e-9 * float(cpu[name].abs().max())
            torch.testing.assert_close(gpu[name], cpu[name], rtol=1e-9, atol=bound, msg=lambda m, n=name: f"{n}: {m}")

    def test_float32_converges_in_every_row_and_agrees_with_float64(self, tmp_path):
        """Three layers: products of the profiles in TF32 kept some rows from converging."""
        forcing = rows(weather(6), 10, 266)
        module = TorchCanopy(cv.Canopy(small_site("alfalfa", 3, tmp_path))).to("cuda")
        results = []
        for dtype in (torch.float32, torch.float64):
            with torch.no_grad():
                results.append(module({name: column.to("cuda", dtype) for name, column in forcing.items()}))
        single, double = results
        assert single["LE"].dtype is torch.float32 and single["converged"].all() and double["converged"].all()
        bounds = {"LE": 0.3, "H": 0.3, "G": 0.1, "Rnet": 0.1, "NEE": 0.02, "soil_respiration": 0.01}
        for name, bound in bounds.items():
            difference = (single[name] - double[name]).abs()
            assert difference.max() < bound and difference.median() < 0.1 * bound, name


class Dryness(torch.nn.Module):
    """A stress with a weight, that sees the forcing."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, forcing):
        return torch.sigmoid(self.weight * (forcing["soil_water_content"] + forcing["air_temperature"] / 30.0))


JUNK = {
    "nothing": {}, "NaN": {"air_temperature": torch.nan}, "inf": {"soil_water_content": torch.inf},
    "missing code": {"friction_velocity": -9999.0}, "hPa": {"pressure": 1013.0}, "several": {"co2": -9999.0, "lai": torch.nan},
}  # fmt: skip


def test_a_row_that_the_loss_leaves_out_has_no_influence():
    """The loop of the README, bit for bit, with a network that sees the broken row."""
    module = TorchCanopy(cv.Canopy(SITE), tunable=("kball", "vcopt"), stress=Dryness())
    results = []
    for junk in JUNK.values():
        forcing = {name: column.clone() for name, column in rows(weather(2), 16, 56).items()}
        for name, value in junk.items():
            forcing[name][5] = value
        out = module(forcing)
        assert bool(out["converged"][5]) == (not junk) and bool(out["LE"][5].isnan()) == bool(junk)
        assert int(out["reason"][5]) == (1 if junk else 0)
        used = out["converged"] & (torch.arange(40) != 5)
        module.zero_grad()
        (out["LE"] - 100.0)[used].square().mean().backward()
        results.append([p.grad.clone() for p in module.parameters()])
    assert all(torch.isfinite(g) and g != 0 for g in results[0])
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_shapes_and_units_at_the_edge():
    module = TorchCanopy(cv.Canopy(SITE))
    forcing = rows(weather(2), 16, 26)
    for column, got in (
        (forcing["lai"][:, None], r"shape \[10, 1\]"),
        (torch.tensor(2.5), r"shape \[\]"),
        (2.5, "a float"),
    ):
        with pytest.raises(cv.ForcingError, match=f"forcing 'lai' must be a tensor .* got {got}"):
            module({**forcing, "lai": column})
    empty = module(rows(forcing, 0, 0))
    assert all(len(value) == 0 for value in empty.values())
    other = TorchCanopy(cv.Canopy(SITE))
    with pytest.warns(cv.ForcingWarning, match="forcing 'pressure' looks like hPa"):
        out = other({**forcing, "pressure": forcing["pressure"] * 10.0})
    assert not out["converged"].any() and out["LE"].isnan().all()
    other({**forcing, "pressure": forcing["pressure"] * 10.0})  # told once


def test_whole_numbers_are_numbers():
    """Integer columns are computed in floating point, not the canopy in integers."""
    module = TorchCanopy(cv.Canopy(SITE))
    forcing = rows(weather(2), 16, 26)
    whole = {
        **forcing,
        "air_temperature": forcing["air_temperature"].round(),
        "day_of_year": forcing["day_of_year"].floor(),
    }
    integers = {**whole, **{name: whole[name].long() for name in ("air_temperature", "day_of_year")}}
    torch.set_default_dtype(torch.float64)
    try:
        out = module(integers)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(out["LE"], module(whole)["LE"])


def test_a_canopy_changed_later_is_not_that_of_the_others():
    """They share compiled functions only as long as they are the same."""
    forcing = rows(weather(2), 16, 26)
    canopy, twin = cv.Canopy(SITE), cv.Canopy(SITE)
    module = TorchCanopy(canopy)
    canopy.parameters = cv.Parameters(kball=20.0)
    assert (TorchCanopy(canopy)(forcing)["LE"] - TorchCanopy(twin)(forcing)["LE"]).abs().max() > 1.0
    assert torch.equal(TorchCanopy(twin)(forcing)["LE"], module(forcing)["LE"])
