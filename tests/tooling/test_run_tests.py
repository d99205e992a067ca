"""The runner of suites: which there are, what runs side by side, and how they are chosen."""

import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tools"))

import run_tests  # noqa: E402
from run_tests import SUITES, Outcome, Runner, Suite, chosen  # noqa: E402


def test_each_file_of_tests_is_in_a_suite():
    launcher = ROOT / "tests/tooling/launcher"
    for path in (ROOT / "tests").rglob("test_*.py"):
        suites = [
            suite.name
            for suite in SUITES
            if any(ROOT / folder in path.parents for folder in suite.folders)
            and not (suite.name == "quick" and launcher in path.parents)
        ]
        products = [f"products-{product}" for product in run_tests.PRODUCTS]
        assert len(suites) == 1 or sorted(suites) == products, f"{path.relative_to(ROOT)} is in {suites}"


@pytest.mark.parametrize(
    ("names", "products", "expected"),
    [
        (["quick"], ["mariadb"], ["quick"]),
        (["servers"], ["mysql"], ["products-mysql", "launcher"]),
        (["servers"], ["postgresql"], ["faults", "products-postgresql", "setups", "launcher"]),
        (["browser", "week"], run_tests.PRODUCTS, ["week", "browser"]),
        ([], run_tests.PRODUCTS, [suite.name for suite in SUITES]),
    ],
)
def test_suites_are_chosen_by_name_group_and_product(names, products, expected):
    assert [suite.name for suite in chosen(names, products)] == expected


class Recorded(Runner):
    """Suites that end when all that may run beside them have begun."""

    def __init__(self, folder, jobs):
        super().__init__(folder, jobs, (), ())
        self.at_once = []
        self._begun = threading.Event()

    def _run(self, suite):
        with self._changed:
            self.at_once.append({other.name for other in self._running})
        self._begun.wait(0.05)
        return Outcome(suite=suite, status=0, seconds=0.0, passed=1, failed=0, skipped=())


def suite(name, **more):
    return Suite(name=name, group="servers", folders=(name,), **more)


@pytest.mark.parametrize("jobs", [2, 3])
def test_as_many_run_side_by_side_as_there_is_room_for(tmp_path, jobs):
    suites = [suite("all processors", jobs=3), suite("seconds", jobs=2), *map(suite, "abcdef")]
    runner = Recorded(tmp_path, jobs)
    outcomes = runner.run(suites)
    assert [outcome.suite for outcome in outcomes] == suites
    assert runner.at_once[0] == {"all processors"}
    for names in runner.at_once:
        assert "all processors" not in names or len(names) == 1
        assert len(names) <= (jobs - 1 if "seconds" in names else jobs)
    assert max(map(len, runner.at_once)) == jobs


def test_the_last_line_is_the_sum(tmp_path):
    one = Outcome(suite=suite("a"), status=0, seconds=1.0, passed=3, failed=0, skipped=("no",))
    two = Outcome(suite=suite("b"), status=1, seconds=1.0, passed=4, failed=2, skipped=())
    assert run_tests.summarize([one, two]).splitlines()[-1] == "7 passed, 2 failed, 1 skipped"
