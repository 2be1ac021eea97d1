"""The site of documentation: ``make docs`` builds it into build/docs, without a network."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "site"))

from scalekeys import __version__  # noqa: E402

project = "scalekeys"
author = "The scalekeys developers"
copyright = author  # noqa: A001 (the name that Sphinx reads)
version = release = __version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "command_line",
    "docstrings",
    "forge",
    "formulas",
]
exclude_patterns = ["site/**", "tutorials/**", "figures/**", "reference/generated/backreferences/**"]
templates_path = ["site/templates"]
nitpicky = True
default_role = "literal"  # docstrings write `words` of the package in single backquotes

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say types and shapes
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "backreferences_dir": "reference/generated/backreferences",
    "doc_module": ("scalekeys",),
    "capture_repr": ("_repr_html_", "__repr__"),
    "first_notebook_cell": "%matplotlib inline",
}

html_theme = "pydata_sphinx_theme"
html_title = f"scalekeys {__version__}"
html_static_path = ["site/static"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_math_renderer = "mathml"
html_theme_options = {
    "logo": {"text": "scalekeys"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_nav_level": 1,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc", "sg_download_links"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "start": [], "changelog": [], "contributing": [], "architecture": []}

linkcheck_timeout = 20
linkcheck_anchors = False
linkcheck_ignore = [r"plot_\w+\.html$"]  # from tutorial to tutorial, which notebooks follow too; the tests check them
