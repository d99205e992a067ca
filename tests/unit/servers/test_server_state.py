"""What is known of a server, as a value."""

import json
from dataclasses import fields

from django_rwrouter.servers.server_state import Condition, ServerState

FULL = ServerState(
    alias="replica1",
    cluster="default",
    role="replica",
    condition=Condition.EJECTED,
    since=5.0,
    why="OperationalError 2013",
    failure="no answer",
    refused="REPLICA MONITOR",
    lag=0.5,
    lag_at_least=0.25,
    position="0-1-7",
    server="1/db1/3306",
    probe_seconds=0.001,
    at=6.0,
)


def test_every_field_travels_as_json():
    assert FULL.as_json().keys() == {field.name for field in fields(ServerState)}
    assert ServerState.from_json(json.loads(json.dumps(FULL.as_json()))) == FULL


def test_what_is_not_known_takes_no_place():
    assert ServerState(alias="replica1").as_json() == {"alias": "replica1"}


def test_fields_of_a_newer_version_are_skipped():
    assert ServerState.from_json({"alias": "replica1", "mood": "good"}) == ServerState(alias="replica1")


def test_what_cannot_be_read_is_none():
    assert ServerState.from_json(["replica1", "replica"]) is None
    assert ServerState.from_json({"role": "replica"}) is None
    assert ServerState.from_json({"alias": "replica1", "condition": "asleep"}) is None
