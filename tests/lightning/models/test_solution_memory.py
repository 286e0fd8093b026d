"""Solutions of the last epoch: kept by site and row, in single precision, only of half-hours that converged."""

import copy

import torch

from lightning_modules.models.solution_memory import SolutionMemory


def states(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_states_come_back_by_site_and_row():
    memory = SolutionMemory(6)
    site, row = torch.tensor([0, 1, 1, 0]), torch.tensor([3, 3, 0, 7])
    assert memory.recall(site, row).isnan().all()
    first, converged = states(4, 0), torch.tensor([True, True, False, True])
    memory.keep(site, row, first, converged)
    back = memory.recall(site.flip(0), row.flip(0))
    assert back.dtype == torch.float32 and back.shape == (4, 6)
    torch.testing.assert_close(back.flip(0)[converged], first[converged].float(), rtol=0, atol=0)
    assert back.flip(0)[~converged].isnan().all()


def test_memory_grows_and_forgets():
    memory = SolutionMemory(6)
    zero = torch.zeros(2, dtype=torch.int64)
    early, late = states(2, 0), states(2, 1)
    memory.keep(zero, torch.tensor([0, 5]), early, torch.ones(2, dtype=torch.bool))
    memory.keep(zero, torch.tensor([5, 5000]), late, torch.tensor([False, True]))  # row 5 did not converge this time
    found = memory.recall(torch.zeros(4, dtype=torch.int64), torch.tensor([0, 5, 5000, 9000]))
    torch.testing.assert_close(found[[0, 2]], torch.stack([early[0], late[1]]).float(), rtol=0, atol=0)
    assert found[[1, 3]].isnan().all()
    assert copy.deepcopy(memory).recall(zero, torch.tensor([0, 5000])).isnan().all()  # copies of a model start anew
    memory.forget()
    assert memory.recall(zero, torch.tensor([0, 5000])).isnan().all()


def test_single_precision_also_where_double_is_the_default_of_torch():
    torch.set_default_dtype(torch.float64)
    try:
        memory, row = SolutionMemory(6), torch.arange(4)
        zero = torch.zeros(4, dtype=torch.int64)
        memory.keep(zero, row, states(4, 0), torch.tensor([True, False, True, True]))
        memory.keep(zero, row + 2, states(4, 1), torch.ones(4, dtype=torch.bool))
        found = memory.recall(zero, row)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and found[1].isnan().all()
    torch.testing.assert_close(
        found[[0, 2, 3]], torch.cat([states(4, 0)[:1], states(4, 1)[:2]]).float(), rtol=0, atol=0
    )
