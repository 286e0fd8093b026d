"""What the tests of learning share."""

import pytest
import torch
from towers import boring_tower


@pytest.fixture(scope="session")
def tower():
    return boring_tower()


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
