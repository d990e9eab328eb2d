"""Sphinx: `make docs` builds the site, strictly; `reference.py` writes three of its pages."""

import sys
from pathlib import Path

import recsweep

sys.path.insert(0, str(Path(__file__).parent))

project = "recsweep"
version = release = recsweep.__version__
extensions = [
    "myst_parser",
    "reference",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "recsweep"
html_copy_source = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other projects have no page here
linkcheck_ignore = [r"http://(localhost|127\.0\.0\.1)"]
