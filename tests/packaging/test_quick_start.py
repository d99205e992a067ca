"""README's quick start, as a new user would try it: pasted into a fresh project."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.cookiejar import CookieJar

import pytest

from tests.packaging import readme

NO_ISSUES = "System check identified no issues"

URLS = """
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

@csrf_exempt
def users(request):
    if request.method == "POST":
        User.objects.create(username=request.POST["name"])
    names = {user.username: user._state.db for user in User.objects.all()}
    return JsonResponse(names)

urlpatterns = [path("admin/", admin.site.urls), path("users/", users)]
"""

ADD_ANN = """
from django.contrib.auth.models import User

User.objects.create(username="ann")
"""

ADMIN_INDEX = """
from django.contrib.auth.models import User
from django.test import Client

client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("boss"))
print(client.get("/admin/").content.decode())
"""


class Browser:
    """A client that keeps its cookies."""

    def __init__(self, url):
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self.opener = urllib.request.build_opener(cookies)

    def get(self):
        with self.opener.open(self.url, timeout=60) as response:
            return json.load(response)

    def post(self, body):
        with self.opener.open(self.url, data=body, timeout=60) as response:
            return json.load(response)


@contextmanager
def runserver(project):
    """Run the project as the quick start says; yield the address of its page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = project.folder / "runserver.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [project.python, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
            cwd=project.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}/users/"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
            except OSError:
                answers = server.poll() is None and time.monotonic() < deadline
                assert answers, f"runserver does not answer:\n{log.read_text()}"
                time.sleep(0.1)
        try:
            yield url
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error}:\n{log.read_text()}") from error
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_the_commands_of_the_quick_start_work(pasted_project):
    commands = readme.quick_start_commands()
    assert ["migrate"] in commands
    for command in commands:
        if command[0] not in {"createsuperuser", "runserver"}:
            pasted_project.manage(*command)


def test_the_check_finds_nothing_to_say(project):
    assert NO_ISSUES in project.manage("check", "--database", "default")


def test_it_reads_from_a_replica_and_shows_writers_their_writes(project):
    (project.folder / "shop" / "urls.py").write_text(URLS)
    project.manage("shell", "-c", ADD_ANN)
    project.replicate()

    with runserver(project) as url:
        writer, reader = Browser(url), Browser(url)
        assert reader.get()["ann"].startswith("replica")
        assert writer.post(b"name=bob")["bob"] == "default"
        assert writer.get()["bob"] == "default"
        assert reader.get()["ann"].startswith("replica")


def test_the_admin_shows_the_statistics(project):
    assert "Read/write routing" in project.manage("shell", "-c", ADMIN_INDEX)


MISTAKES = {
    "a key with a typo": (
        'RWROUTER["PIN_SECOND"] = 9',
        ["PIN_SECOND", "PIN_SECONDS"],
    ),
    "an unknown level": (
        'RWROUTER["CONSISTENCY"] = "windows"',
        ["CONSISTENCY", "'windows'", "'window'"],
    ),
    "a number in quotes": (
        'RWROUTER["PIN_SECONDS"] = "5"',
        ["PIN_SECONDS", "'5'"],
    ),
    "an unknown alias": (
        'RWROUTER["REPLICAS"] = ["replcia1"]',
        ["REPLICAS", "replcia1", "replica1"],
    ),
    "the primary among the replicas": (
        'RWROUTER["REPLICAS"] = ["default", "replica1"]',
        ["default"],
    ),
    "no middleware": (
        'MIDDLEWARE = [name for name in MIDDLEWARE if "rwrouter" not in name]',
        ["MIDDLEWARE", "django_rwrouter.middleware.ReadWriteMiddleware"],
    ),
    "the middleware at the end": (
        "MIDDLEWARE = [*MIDDLEWARE[1:], MIDDLEWARE[0]]",
        ["MIDDLEWARE", "django_rwrouter.middleware.ReadWriteMiddleware"],
    ),
    "no router": (
        "DATABASE_ROUTERS = []",
        ["DATABASE_ROUTERS", "django_rwrouter.router.ReadWriteRouter"],
    ),
    "a replica that tests would take for a database of its own": (
        'DATABASES["replica1"].pop("TEST")',
        ["replica1", "MIRROR"],
    ),
}


@pytest.mark.parametrize(("mistake", "words"), MISTAKES.values(), ids=MISTAKES)
def test_the_check_explains(pasted_project, mistake, words):
    pasted_project.add_to_settings(mistake)

    said = pasted_project.manage("check", "--fail-level=WARNING", fails=True)

    assert "Traceback" not in said, said
    for word in [*words, "(django_rwrouter.", "HINT:"]:
        assert word in said, f"{word!r} is not in:\n{said}"
