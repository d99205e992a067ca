"""What a request costs in calls, beyond one without a router: it may become less, and never more."""

import pytest

from benchmarks.request import CAUSAL, NONE, SCENES, WINDOW, count_on_sqlite

LIMITS = {
    "GET without a query": (22, 22),
    "GET without a query, wrote earlier": (23, 23),
    "GET without a query, wrote a moment ago": (23, 23),
    "one `get()`": (154, 135),
    "one `get()`, wrote earlier": (178, 183),
    "one `get()`, wrote a moment ago": (159, 183),
    "page of 12 reads of 4 models": (295, 265),
    "page of 12 reads of 4 models, wrote earlier": (319, 313),
    "page of 12 reads of 4 models, wrote a moment ago": (309, 313),
    "POST with one UPDATE": (228, 287),
    "async GET without a query": (25, 25),
    "one `get()`, logged in": (198, 178),
    "one `get()`, logged in, `session` store": (321, 329),
}
"""At ``window`` and at ``causal``. Lower them when a scene has become cheaper."""
TOLERANCE = 1.03
"""Versions of Python and Django differ in a few calls."""


@pytest.fixture(scope="module")
def calls():
    return {scene.title: counts for scene, counts in count_on_sqlite([NONE, WINDOW, CAUSAL]).items()}


@pytest.mark.parametrize("title", [scene.title for scene in SCENES])
def test_a_request_makes_no_more_calls_than_it_did(calls, title):
    counts = calls[title]
    added = counts[WINDOW] - counts[NONE], counts[CAUSAL] - counts[NONE]
    most = LIMITS[title]
    assert all(one <= limit * TOLERANCE for one, limit in zip(added, most, strict=True)), (
        f"{title}: {added} calls beyond no router at window and causal, where {most} are the most."
        " `python -m benchmarks --calls` has the whole table; Site.profile() in benchmarks/workers/request.py"
        " tells where they are made."
    )
