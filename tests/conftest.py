"""What holds for all tests. In CI, one of the real servers or of the browser that is skipped has failed."""

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from django_rwrouter.events import emit
from django_rwrouter.stats import backends
from tests.servers.product import PRODUCTS

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

# Processes share one monitor in this directory: those of this run, and not those of another beside it.
_runtime = tempfile.TemporaryDirectory(prefix="rwrouter-runtime-", ignore_cleanup_errors=True)
os.environ["XDG_RUNTIME_DIR"] = _runtime.name

# The processes of pytest-xdist must find the same tests; a set in a test's name is in another order in each.
os.environ.setdefault("PYTHONHASHSEED", str(random.randrange(2**32)))

MUST_RUN = tuple(
    Path(__file__).parent / folder for folder in ("servers", "browser", "packaging", "tooling/launcher")
)
EXCUSES = ("not for this", "There is no mysql", "MySQL cannot be had")
"""In the reason of a skip that is none of ours: the test makes no sense here, or another environment of tox
runs it; and MySQL is in no stable Debian, so it may not be there to be fetched."""
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}


REAL = tuple(Path(__file__).parent / folder for folder in ("servers", "tooling/launcher"))
"""Where tests need MariaDB, if they are not marked with another product."""


def pytest_addoption(parser):
    parser.addoption(
        "--product",
        action="append",
        choices=PRODUCTS,
        help="of the tests on real servers, run those of this product alone; may be given several times",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "product(*names): the products that a test on real servers needs")


def pytest_collection_modifyitems(config, items):
    if not (chosen := config.getoption("product")):
        return
    unwanted = [item for item in items if not needed(item) <= set(chosen)]
    items[:] = [item for item in items if item not in unwanted]
    config.hook.pytest_deselected(items=unwanted)


def needed(item):
    """Return the products whose servers a test needs."""
    if not any(folder in item.path.parents for folder in REAL):
        return set()
    mark = item.get_closest_marker("product")
    return set(mark.args if mark else ["mariadb"])


@pytest.fixture(autouse=True)
def _nobody_merges_statistics_by_chance(monkeypatch):
    """A process that writes them merges them at a random time; what a test finds must not depend on that."""
    monkeypatch.setattr(backends, "ROLL_UP_SECONDS", 1e9)


@pytest.fixture(autouse=True)
def _nothing_was_logged_a_moment_ago(monkeypatch):
    """A condition that another test has met would not be logged again so soon."""
    monkeypatch.setattr(emit, "_logged", {})


def _fail_if_skipped(report, path):
    if not (IN_CI and report.skipped and any(folder in path.parents for folder in MUST_RUN)):
        return
    if hasattr(report, "wasxfail"):
        return
    *_place, reason = report.longrepr
    if any(excuse in reason for excuse in EXCUSES):
        return
    report.outcome = "failed"
    report.longrepr = f"{reason}\nIn CI everything that this test needs must be installed."


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if report.skipped:
        _fail_if_skipped(report, collector.path)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    _fail_if_skipped(report, item.path)
    return report


def pytest_report_header():
    return f"PYTHONHASHSEED={os.environ['PYTHONHASHSEED']}"
