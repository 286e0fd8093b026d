"""Settings for a whole process, tried in a process of their own."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json, jax
before = jax.config.jax_enable_x64
import canveg_jax
from canveg_jax.runtime import prepare_jax
untouched = jax.config.jax_enable_x64
prepare_jax()
print(json.dumps([before, untouched, jax.config.jax_enable_x64, jax.config.jax_compilation_cache_dir]))
"""


@pytest.mark.parametrize("chosen", [None, "elsewhere"])
def test_double_precision_and_programs_kept_unless_the_user_chose(tmp_path, chosen):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"CANVEG_CACHE": str(tmp_path)}
    if chosen:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / chosen)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    before, imported, prepared, folder = json.loads(done.stdout.splitlines()[-1])
    assert (before, imported, prepared) == (False, False, True)
    assert folder == str(tmp_path / (chosen or "jax"))
