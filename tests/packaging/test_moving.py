"""The pages on moving here from other packages, followed with a project that uses one."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.packaging import readme

BLOCK = re.compile(r"(Before|After):\n+(?P<indent> *)```python\n(?P<code>.*?)\n *```", re.DOTALL)

REPLICAS = """
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}
for replica in ("replica1", "replica2"):
    DATABASES[replica] = {**DATABASES["default"], "TEST": {"MIRROR": "default"}}
"""

VISIT = """
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path

def view(request):
    if request.method == "POST":
        User.objects.create(username="ann")
    return HttpResponse(User.objects.all().db)

class urls:
    urlpatterns = [path("", view)]

middleware = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
with override_settings(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"], MIDDLEWARE=middleware):
    stranger, writer = Client(), Client()
    print("before:", stranger.get("/").text)
    print("post:", writer.post("/").text)
    print("after:", writer.get("/").text)
    print("others:", stranger.get("/").text)
"""

PACKAGES = ["django-multidb-router", "django-replicated"]


def settings_of(package):
    """Return the settings before and after the move, as the page has them."""
    page = (readme.ROOT / "docs" / f"coming-from-{package}.md").read_text(encoding="utf-8")
    before, after = (
        "\n".join(line.removeprefix(block["indent"]) for line in block["code"].splitlines())
        for block in BLOCK.finditer(page)
    )
    return before, after


@pytest.fixture(scope="session")
def python_with_both(wheel, tmp_path_factory):
    """A Python with this package and those that it takes the place of."""
    folder = tmp_path_factory.mktemp("moving") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, *PACKAGES]
    subprocess.run(install, check=True)
    return python


@pytest.fixture
def old_project(fresh_project, python_with_both):
    fresh_project.add_to_settings(REPLICAS)
    return replace(fresh_project, python=python_with_both)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_old_settings_work_and_so_do_the_new_ones(old_project, package):
    before, after = settings_of(package)
    settings = old_project.settings.read_text()

    old_project.add_to_settings(before)
    old_project.manage("migrate", "--verbosity=0")
    assert "before: replica" in old_project.manage("shell", "-c", VISIT)

    old_project.settings.write_text(settings)
    old_project.add_to_settings(after)
    old_project.manage("migrate", "--verbosity=0")
    old_project.manage(
        "shell", "-c", "from django.contrib.auth.models import User; User.objects.all().delete()"
    )
    assert "no issues" in old_project.manage("check", "--database", "default")
    said = old_project.manage("shell", "-c", VISIT)
    assert re.search(r"before: replica\d\npost: default\nafter: default\nothers: replica\d", said), said
