"""The page "Explain"."""

import pytest

from django_rwrouter.servers.health import health

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def ask(show):
    def ask(**question):
        asked = {"model": "app.Book", "method": "GET", "level": "", "token_age": "", **question}
        return show("explain/?" + "&".join(f"{name}={value}" for name, value in asked.items()))

    return ask


def applies(shown):
    (rule,) = [attributes for _tag, attributes in shown.tags if attributes.get("aria-current") == "step"]
    return rule["class"]


def test_at_first_there_is_only_the_form(show):
    shown = show("explain/")
    assert "Where it goes" not in shown.text
    labels = {attributes["for"] for tag, attributes in shown.tags if tag == "label"}
    inputs = [attributes for tag, attributes in shown.tags if tag in {"select", "input"}]
    assert labels == {attributes["id"] for attributes in inputs}


@pytest.mark.parametrize(
    ("question", "answer", "rule"),
    [
        ({}, "replica1, replica2 the client has not written lately window", "Level “window” applies"),
        (
            {"token_age": 2},
            "default the client wrote a moment ago pinned",
            "A client that wrote a moment ago applies",
        ),
        (
            {"token_age": 2, "level": "eventual"},
            "replica1, replica2 any replica will do",
            "Level “eventual” applies",
        ),
        ({"method": "POST"}, "default an unsafe method", "A method that may write applies"),
        ({"method": "outside"}, "default outside any request", "Outside any request applies"),
        (
            {"wrote": "on"},
            "default this request, task or scope has written",
            "Written in this request applies",
        ),
        ({"in_transaction": "on"}, "default inside a transaction", "A transaction applies"),
        ({"from_primary": "on"}, "default follows an object", "Following an object applies"),
        ({"block": "use_primary"}, "default inside use_primary()", "A use_primary() block applies"),
        (
            {"block": "use_replica", "method": "POST"},
            "replica1, replica2 inside use_replica()",
            "A use_replica() block applies",
        ),
        (
            {"block": "consistency", "level": "eventual", "method": "POST"},
            "replica1, replica2 any replica will do",
            "Level “eventual” applies",
        ),
        ({"model": "sessions.Session"}, "default the model is always read", "from the primary applies"),
    ],
    ids=str,
)
def test_the_rule_that_applies_and_where_it_leads(ask, question, answer, rule):
    shown = ask(**question)
    assert answer in shown.text
    assert rule in shown.text
    assert applies(shown) == "rwrouter-rules rwrouter-rule-applies"
    assert "not reached" in shown.text or question == {}


def test_the_rules_that_do_not_apply_are_folded_away(ask):
    html = ask().html
    shown, folded = html.split("<details", 1)
    assert "does not apply" not in shown
    assert "does not apply" in folded.partition("</details>")[0]


def test_what_the_process_knows_of_its_servers_counts(ask):
    health.failed("replica1")
    assert "Where it goes replica2 the client" in ask().text


@pytest.mark.parametrize(
    "question", [{"model": "no.Model"}, {"method": "BREW"}, {"token_age": "x"}, {"token_age": -1}]
)
def test_nonsense_is_told_at_its_field(ask, question):
    shown = ask(**question)
    assert "Where it goes" not in shown.text
    assert [attributes for _tag, attributes in shown.tags if "errorlist" in attributes.get("class", "")]


def test_a_model_of_no_cluster(ask, settings):
    settings.RWROUTER = {"CLUSTERS": {"main": {"REPLICAS": ["replica1"], "MODELS": ["auth"]}}}
    assert "Other routers and Django decide" in ask().text
