"""How Sphinx builds the documentation: ``make docs``."""

import re
import sys
from pathlib import Path

import django

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
from django.conf import settings
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Just enough of a project for autodoc to import the modules, which import models.
settings.configure(
    SECRET_KEY="for the documentation only",  # noqa: S106  (nothing is signed with it)
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "django_rwrouter",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()

import django_rwrouter  # noqa: E402

project = "django-rwrouter"
author = "django-rwrouter contributors"
copyright = author
version = release = django_rwrouter.__version__

URLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
# Some pages are in Korean: -D language=ko. tools/translated_docs.py tells what has changed since.
locale_dirs = ["locale"]
gettext_compact = False
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# README, CHANGELOG and CONTRIBUTING are included by pages of ours: their first heading is not a title here.
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_theme_options = {
    "source_repository": URLS["Homepage"],
    "source_branch": "main",
    "source_directory": "docs/",
}
html_baseurl = URLS["Documentation"]
# A prompt is not copied, nor what a command prints.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
html_title = f"django-rwrouter {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sphinx = False
html_copy_source = False


def offer_files_of_the_repository(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make downloads of links to what is beside docs/, which would be pages of it otherwise."""
    source[0] = re.sub(r"\]\((?=\.\./)", "](path:", source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", offer_files_of_the_repository)
