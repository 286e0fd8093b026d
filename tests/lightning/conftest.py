"""What the tests of learning share."""

import pytest
import torch

from tests.lightning.towers import boring_tower


@pytest.fixture(scope="session")
def tower():
    return boring_tower()


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """The networks here are tiny: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
