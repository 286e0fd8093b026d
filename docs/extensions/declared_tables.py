"""The tables in which the packages declare their variables, such as `canveg_jax.FORCING_TABLE`, as tables of a page.

```{declared-table} canveg_jax.FORCING_TABLE
:columns: unit meaning lower upper
```
"""

from __future__ import annotations

from importlib import import_module

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class DeclaredTable(SphinxDirective):
    """A mapping from names to records of named fields, one row a name."""

    required_arguments = 1
    option_spec = {"columns": directives.unchanged_required, "header": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The table."""
        module, _, name = self.arguments[0].rpartition(".")
        declared = getattr(import_module(module), name)
        columns = self.options["columns"].split()
        rows = [[key, *(_text(_field(record, column)) for column in columns)] for key, record in declared.items()]
        return [_table(["name", *(column.replace("_", " ") for column in columns)], rows)]


def _field(record, column: str):
    return record[column] if isinstance(record, dict) else getattr(record, column)


def _text(value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(head: list[str], rows: list[list[str]]) -> nodes.table:
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row([nodes.Text(text) for text in head]))
    group += nodes.tbody("", *(_row([nodes.literal(text=first), *map(nodes.Text, rest)]) for first, *rest in rows))
    return nodes.table("", group, classes=["declared"])


def _row(cells: list[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_directive("declared-table", DeclaredTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
