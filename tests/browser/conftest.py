"""Debian's Chromium, driven by Playwright, and the board on a real cluster for it to visit."""

import shutil
from contextlib import contextmanager

import pytest

from launcher.mariadb import MariaDBCluster, ServerError
from launcher.mariadb_data import SERVER_PACKAGES
from launcher.programs import find_program
from tests.browser.visitor import LOOKS, PATIENCE, Visitor
from tests.servers.mariadb.board import Board

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox",  # For root, in a container.
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
)


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium was not found. On Debian or Ubuntu install it with: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def running():
    """The servers."""
    pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")
    try:
        find_program("mariadbd", packages=SERVER_PACKAGES)
    except ServerError as error:
        pytest.skip(str(error))
    with MariaDBCluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def site(running):
    """The board, with sample content. The window is wide, for machines on which a click takes its time."""
    environment = {"RWROUTER_FLUSH_SECONDS": "0.3", "RWROUTER_PIN_SECONDS": "60", "LOAD_TEST_API": "0"}
    with Board(running).serve(**environment) as site:
        yield site


@pytest.fixture
def paused(running, site):
    """The replicas, which have what is there now, and apply nothing more."""
    running.wait_all()
    for replica in running.replicas:
        running.pause(replica)
    yield
    running.heal()


@pytest.fixture
def new_visitor(chromium, site):
    """Make visitors: ``with new_visitor(look) as visitor``. They must have nothing to complain of."""

    @contextmanager
    def make(look=LOOKS[0]):
        context = chromium.new_context(**look.options)
        context.set_default_timeout(PATIENCE)
        try:
            visitor = Visitor(context.new_page(), look, site.address)
            yield visitor
            assert not visitor.complaints
        finally:
            context.close()

    return make


@pytest.fixture(params=LOOKS, ids=lambda look: look.name)
def look(request):
    return request.param


@pytest.fixture
def visitor(new_visitor, look):
    with new_visitor(look) as visitor:
        yield visitor
