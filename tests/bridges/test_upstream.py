"""Names outside the public interfaces of torch and JAX: all looked up in one file, a missing one reported by name."""

import re
from pathlib import Path

import pytest

import bridges
from bridges import BridgeError
from bridges._runtime import upstream

ALL = {**upstream.USES, **upstream.USES_OF_THE_COMPILER, **upstream.USES_WITH_A_SUBSTITUTE}


def test_the_installed_versions_have_every_private_name():
    assert upstream.missing(ALL) == {}


def test_a_missing_name_is_reported_with_its_purpose_and_the_tested_versions():
    gone = {"torch._C._gone": "crossing the river", "jax._src.no_such_module.f": "finding the bank"}
    assert upstream.missing({**upstream.USES, **gone}) == gone
    message = (
        r"lack private names.*\n  torch\._C\._gone: crossing the river\n  jax\._src\.no_such_module\.f: finding .*\n"
    )
    with pytest.raises(BridgeError, match=message + f".*tested with {re.escape(upstream.TESTED)}"):
        upstream.require({**upstream.USES, **gone})


def test_no_other_file_uses_a_private_name():
    private = re.compile(r"\b(torch|jax|jaxlib)(\.\w+)*\._[a-z]\w*|\b(_pytree|_dynamo|_current_level)\b")
    public = {"torch.__path__", "torch.library"}
    folder = Path(bridges.__file__).parent
    found = {
        f"{path.relative_to(folder)}: {match.group()}"
        for path in folder.rglob("*.py")
        if path.name != "upstream.py"
        for match in private.finditer(path.read_text())
        if match.group() not in public
    }
    assert not found
    assert private.search((folder / "_runtime" / "upstream.py").read_text())
