"""Notebooks are Python scripts in the percent format; this says that their code is Python, which such a script need not."""

import jupytext
from nbformat import NotebookNode


def read(text: str) -> NotebookNode:
    """The notebook of a script."""
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "python"}
    return notebook
