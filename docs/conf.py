"""How the documentation is built: `make docs`, with warnings as errors."""

from lefcache.version import __version__

project = "lefcache"
author = "the lefcache authors"
copyright = "the lefcache authors, Apache-2.0"
release = version = __version__

extensions = [
    "myst_nb",  # Markdown, and the notebook, which is run anew for every build
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = "lefcache"

myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"  # what libraries say to a terminal

default_role = "code"  # in docstrings, as in Markdown, `single` marks code
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
