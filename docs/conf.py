"""How the pages become a site: `make docs` (Sphinx, pydata theme, MyST). A warning of any part of it is an error."""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "extensions")]

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # importing the packages is all that a build needs of JAX

project = "canveg-torch"
author = "the canveg-torch developers"
project_copyright = author
version = release = installed_version("canveg-torch")

extensions = [
    "myst_nb",  # Markdown pages, and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    # extensions/, this project's own
    "source_keys",
    "docstrings",
    "repository_files",
    "declared_tables",
]
exclude_patterns = ["conf.py", "extensions/**", "_templates/**"]
nitpicky = False  # types of jaxtyping and equinox in signatures have no pages of their own
suppress_warnings = [
    "config.cache",  # functions among the settings below cannot be kept between builds
]

# Markdown
source_suffix = {
    ".rst": "restructuredtext",
    ".md": "myst-nb",
    ".py": "myst-nb",
}  # pages that are generated have the first
myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

# Notebooks: percent scripts, shown as they are. DOCS_EXECUTE=1 runs them (minutes) and shows what they print and draw.
nb_custom_formats = {".py": "percent_notebooks.read"}
nb_execution_mode = "force" if os.environ.get("DOCS_EXECUTE") == "1" else "off"
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_merge_streams = True

# Docstrings
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Class attributes", "params_style")]
napoleon_preprocess_types = False
add_module_names = False
python_maximum_signature_line_length = 90

# Sources
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

# Links to other sites are checked on request only: make docs-links
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False
# Publishers answer programs with 403 though the DOI resolves: the resolver itself is asked.
linkcheck_allowed_redirects = {r"https://doi\.org/.*": r".*"}

html_theme = "pydata_sphinx_theme"
html_title = "canveg-torch"
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
html_copy_source = False
templates_path = ["_templates"]
