"""What holds for all tests. In CI, one of the real servers or of the browser that is skipped has failed."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from django_rwrouter import storage

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

MUST_RUN = tuple(Path(__file__).parent / folder for folder in ("servers", "browser", "packaging", "tooling"))
EXCUSES = ("not for this Django", "There is no MySQL", "MySQL cannot be had")
"""In the reason of a skip that is none of ours: other environments of tox run the test; and MySQL is in no
stable Debian, so it may not be there to be fetched."""
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}


@pytest.fixture(autouse=True)
def _nobody_merges_statistics_by_chance(monkeypatch):
    """A process that writes them merges them at a random time; what a test finds must not depend on that."""
    monkeypatch.setattr(storage, "ROLL_UP_SECONDS", 1e9)


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
