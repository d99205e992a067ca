"""What is in the wheel and in the source archive, and what the wheel asks for."""

import re
import subprocess
import tarfile
import zipfile
from email.parser import Parser

import pytest

from tests.packaging.readme import ROOT

BELONGS_IN_WHEEL = re.compile(
    r"django_rwrouter/(.+\.py|py\.typed|(.+/)?(templates|static|locale)/.+)"
    r"|django_rwrouter-[^/]+\.dist-info/.+"
)


def names_in_wheel(wheel):
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_carries_the_package_and_nothing_else(wheel):
    assert [name for name in names_in_wheel(wheel) if not BELONGS_IN_WHEEL.fullmatch(name)] == []


@pytest.mark.parametrize("folder", ["templates", "static"])
def test_the_wheel_carries_what_the_admin_page_needs(wheel, folder):
    assert any(name.startswith(f"django_rwrouter/{folder}/") for name in names_in_wheel(wheel))


def test_the_wheel_carries_the_translations_compiled(wheel):
    assert "django_rwrouter/locale/ko/LC_MESSAGES/django.mo" in names_in_wheel(wheel)


def test_the_wheel_says_that_it_is_typed(wheel):
    assert "django_rwrouter/py.typed" in names_in_wheel(wheel)


def test_the_wheel_asks_for_django_alone(wheel):
    (metadata,) = (name for name in names_in_wheel(wheel) if name.endswith("/METADATA"))
    fields = Parser().parsestr(zipfile.ZipFile(wheel).read(metadata).decode())
    always = [name for name in fields.get_all("Requires-Dist") if "extra ==" not in name]

    assert [re.match(r"[\w-]+", name)[0].lower() for name in always] == ["django"]
    assert set(fields.get_all("Provides-Extra")) == {
        "celery",
        "charts",
        "debug-toolbar",
        "environ",
        "mysql",
        "opentelemetry",
        "postgresql",
        "prometheus",
    }


def test_the_clean_environment_is_clean(clean_python):
    listed = subprocess.run(
        [clean_python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.lower()
    installed = {line.partition("==")[0].replace("_", "-") for line in listed.split()}

    of_django = {"asgiref", "django", "sqlparse", "typing-extensions", "tzdata"}
    assert installed - of_django - {"pip", "setuptools"} == {"django-rwrouter"}


@pytest.fixture(scope="session")
def names_in_source_archive(dist):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        return {name.partition("/")[2] for name in tar.getnames()}


@pytest.mark.parametrize(
    "path",
    [
        "django_rwrouter/__init__.py",
        "docs/conf.py",
        "launcher/",
        "proofs/__main__.py",
        "testproject/manage.py",
        "tests/conftest.py",
        "tools/run_tests.py",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "README.md",
    ],
)
def test_the_source_archive_has_all_that_tests_and_docs_need(names_in_source_archive, path):
    assert any(name.startswith(path) for name in names_in_source_archive)


def test_the_source_archive_has_nothing_that_git_ignores(names_in_source_archive):
    """The demo leaves a secret key and a password in the tree."""
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert names_in_source_archive - set(listed.stdout.splitlines()) == {"PKG-INFO"}
