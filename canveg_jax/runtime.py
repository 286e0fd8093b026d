"""Settings of JAX for a whole process, made by commands and scripts, never by the library on its own."""

import jax

from .files import cache_folder
from .solver.stored_programs import keep_programs


def prepare_jax() -> None:
    """Double precision; traced and compiled programs kept on disk between runs (unless the user's settings say otherwise)."""
    jax.config.update("jax_enable_x64", True)
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]  (made at run time)
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
        keep_programs(cache_folder() / "programs")
