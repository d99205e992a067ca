"""The dashboard and the alert rules in the documentation: all that they ask for is there."""

import json
import re
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest
import yaml

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")

from django_rwrouter.contrib.prometheus import Families
from django_rwrouter.decision import Operation, Reason
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.scope.token import Flaw
from django_rwrouter.servers.server_state import Condition

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "grafana"
SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
    "gauge": ("",),
}
VALUES = {
    "operation": set(get_args(Operation)),
    "reason": {reason.value for reason in Reason},
    "role": {"primary", "replica"},
    "state": {condition.value for condition in Condition},
    "event": {kind.value for kind in EventKind if kind.subject not in {"database", "store"}},
    "subject": set(get_args(Flaw)),
}
"""Those that a label may have, where they are known."""
METRIC = re.compile(r"\b(rwrouter_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right) ?\(([^)]*)\)")
TEMPLATE = re.compile(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}")


def exported():
    """Return the labels of each series that the collector exports, by name."""
    labels = {}
    for family in Families():
        for suffix in SUFFIXES[family.type]:
            names = set(family._labelnames)
            labels[family.name + suffix] = names | {"le"} if suffix == "_bucket" else names
    return labels


def panels():
    for panel in json.loads((FOLDER / "rwrouter.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield pytest.param(
                target["expr"], target["legendFormat"], id=f"{panel['title']} {target['refId']}"
            )


def rules():
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            texts = " ".join(rule["annotations"].values())
            yield pytest.param(rule["expr"], texts, id=rule["alert"])


@pytest.mark.parametrize(("expression", "texts"), [*panels(), *rules()])
def test_the_metrics_labels_and_values_of_an_expression_exist(expression, texts):
    labels = exported()
    used = set()
    found = list(METRIC.finditer(expression))
    assert found
    for name, matchers in (match.groups() for match in found):
        assert name in labels, f"There is no metric {name}; there are {sorted(labels)}."
        used |= labels[name]
        for label, operator, value in MATCHER.findall(matchers or ""):
            assert label in labels[name], f"{name} has no label {label!r}, but {labels[name]}."
            if not value.startswith("$"):
                wanted = set(value.split("|")) if operator.endswith("~") else {value}
                assert wanted <= VALUES[label], f"{label} is never {wanted - VALUES[label]}."
    grouped = {
        name.strip() for names in GROUPING.findall(expression) for name in names.split(",") if name.strip()
    }
    shown = set(TEMPLATE.findall(texts))
    assert grouped <= used
    assert shown <= used
    # What an aggregation leaves of the labels can be shown, and nothing else.
    assert shown <= grouped


def test_every_metric_is_used_or_explained():
    used = {
        match[1]
        for expression, _ in (each.values for each in chain(panels(), rules()))
        for match in METRIC.finditer(expression)
    }
    assert exported().keys() - used == {"rwrouter_info"}
    documented = (FOLDER.parent / "exporters.md").read_text()
    for family in Families():
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        assert f"`{name}`" in documented, f"docs/exporters.md does not mention {name}."


def test_the_dashboard_can_be_imported_as_it_is():
    """Its data source is chosen when it is imported, no two panels overlap, and none is named twice."""
    text = (FOLDER / "rwrouter.json").read_text()
    assert {match[1] for match in METRIC.finditer(text)} <= exported().keys()
    dashboard = json.loads(text)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "cluster"}
    places, ids = set(), set()
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        place = panel["gridPos"]
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not places & covered
        assert place["x"] + place["w"] <= 24
        places |= covered
        ids.add(panel["id"])
    assert len(ids) == len(dashboard["panels"])
