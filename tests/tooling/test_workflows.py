"""What GitHub runs, and what tox and make know, are one list."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
YAML = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / ".readthedocs.yaml"]


def environments():
    """Return the environments of tox.ini that run the quick tests."""
    listed = (ROOT / "tox.ini").read_text().partition("env_list =")[2].partition("#")[0].split()
    for name in listed:
        python, _, rest = name.partition("-django")
        for django in rest.strip("{}").split(","):
            if not django.endswith("-contrib"):
                yield python, django


def test_the_matrix_is_that_of_tox():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    matrix = workflow["jobs"]["sqlite"]["strategy"]["matrix"]["include"]

    jobs = [job for job in matrix if not job.get("may_fail")]
    assert [("py" + job["python"].replace(".", ""), job["django"]) for job in jobs] == list(environments())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_make_has_the_targets(workflow):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", workflow.read_text()))

    assert named
    assert named - targets == set()


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_it_is_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text()), dict)
