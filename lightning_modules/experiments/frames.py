"""The type of tables in annotations."""

from typing import Any, TypeAlias

Frame: TypeAlias = Any
"""A `pandas.DataFrame`. What its methods return are unions that a type checker cannot follow, so it is not checked."""
