"""The built package, and a new user's project with the built package alone."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging import readme

REPLICATE = """
import os, shutil
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
from django.conf import settings
primary, *replicas = [str(database["NAME"]) for database in settings.DATABASES.values()]
for replica in set(replicas) - {primary}:
    shutil.copy(primary, replica)
"""
"""What replication would do: SQLite's replicas in the quick start may be files of their own."""


@dataclass(frozen=True, slots=True)
class Project:
    """A fresh `django-admin startproject shop`."""

    folder: Path
    python: Path

    @property
    def settings(self) -> Path:
        return self.folder / "shop" / "settings.py"

    def run(self, *arguments, fails=False, stdin=None):
        """Run Python with these arguments in the project; return what it printed."""
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            check=False,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        command = " ".join(map(str, arguments))
        if not fails:
            assert done.returncode == 0, f"python {command} failed:\n{done.stdout}"
        else:
            assert done.returncode != 0, f"python {command} should have failed:\n{done.stdout}"
        return done.stdout

    def manage(self, *arguments, fails=False):
        return self.run("manage.py", *arguments, fails=fails)

    def replicate(self):
        self.run("-c", REPLICATE)

    def add_to_settings(self, code):
        with self.settings.open("a", encoding="utf-8") as file:
            file.write(f"\n{code}\n")


@pytest.fixture(autouse=True)
def no_settings_of_ours(monkeypatch):
    """pytest-django exports the settings of our tests; a user's project has its own."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """The folder with the wheel and the source archive, built from this tree."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=readme.ROOT, check=True)
    return folder


@pytest.fixture(scope="session")
def wheel(dist):
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def clean_python(wheel, tmp_path_factory):
    """A Python with the wheel and what the wheel asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    subprocess.run(install, check=True)
    return python


@pytest.fixture
def fresh_project(clean_python, tmp_path):
    """A project that knows nothing of us."""
    subprocess.run([clean_python, "-m", "django", "startproject", "shop", tmp_path], cwd=tmp_path, check=True)
    return Project(tmp_path, clean_python)


@pytest.fixture
def pasted_project(fresh_project):
    """A project with the quick start pasted at the end of its settings."""
    fresh_project.add_to_settings(readme.quick_start_settings())
    return fresh_project


@pytest.fixture
def project(pasted_project):
    """The same, its tables made, and the replicas' too."""
    pasted_project.manage("migrate", "--verbosity=0")
    pasted_project.replicate()
    return pasted_project
