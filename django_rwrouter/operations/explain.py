"""Explains where a read would go, and why, by running the engine on a hypothetical one.

The rules are the engine's own. Nothing is decided here: the reason of the engine's decision names the rule
that applied. The rules before that one did not apply, or they would have decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from django.utils.translation import gettext_lazy as _

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.decision import Level, Reason
from django_rwrouter.operations.hypothetical_read import HypotheticalRead, Outcome, Question, tells_positions
from django_rwrouter.routing.rules import RULES, Demand, Rule, first_rule


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """One rule, and what became of it for one question."""

    name: str
    """The same in every version."""
    title: str
    verdict: Literal["passed", "applies", "not_reached"]
    """``not_reached`` where an earlier one has decided."""
    text: str
    """Why it applies, or does not; empty for one that was not reached."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to a question."""

    question: Question
    cluster: str
    """Empty for a model that no cluster serves."""
    level: Level | None
    """The level in force; ``None`` where no rule has to do with it."""
    rules: tuple[ExplainedRule, ...]
    outcome: Outcome | None
    """``None`` where other routers and Django decide."""
    otherwise: Outcome | None = None
    """The same if all replicas are too far behind, where that makes a difference."""


OURS: Final = Rule(
    "ours",
    (),
    Demand.PRIMARY,
    lambda _read: False,
    title=_("A model of no cluster"),
    text=_("No cluster of the settings serves this model: other routers and Django decide."),
    passed=_("The cluster “%(cluster)s” serves the model."),
)
WRITES: Final = Rule(
    "write",
    (Reason.WRITE,),
    Demand.PRIMARY,
    lambda _read: False,
    title=_("A write"),
    text=_("Writes go to the primary, always."),
    passed=_("It is a read."),
)
"""These two come before the rules for reads."""


def explain(question: Question) -> Explanation:
    """Say where a read would go, and why; see :mod:`django_rwrouter.operations.hypothetical_read`."""
    route = get_topology().route(question.model)
    if route is None:
        return Explanation(question, "", None, _explained(OURS, {}), None)
    hypothetical = HypotheticalRead(question, route)
    cluster, facts = hypothetical.cluster, _facts(hypothetical)
    if question.write:
        outcome = Outcome(route.decide(cluster.primary, Reason.WRITE, "write"), (cluster.primary,))
        return Explanation(question, cluster.name, None, _explained(WRITES, facts), outcome)
    rule, reason = first_rule(hypothetical.read())
    outcome = hypothetical.outcome(rule.demand, reason, caught_up=True)
    behind = hypothetical.outcome(rule.demand, reason, caught_up=False)
    return Explanation(
        question,
        cluster.name,
        hypothetical.level,
        _explained(rule, facts),
        outcome,
        None if behind.decision.reason is outcome.decision.reason else behind,
    )


def _facts(hypothetical: HypotheticalRead) -> dict[str, object]:
    """Return what the texts of the rules mention."""
    question, cluster, level = hypothetical.question, hypothetical.cluster, hypothetical.level
    settings = cluster.settings
    without = level is Level.CAUSAL and not tells_positions(cluster)
    return {
        "cluster": cluster.name,
        "method": question.method,
        "level": level.value,
        "fallback": _(", which counts as “window”, as the database has no positions") if without else "",
        "outside_request": settings.outside_request,
        "max_staleness": f"{question.max_staleness:g}",
        "token_age": f"{question.token_age or 0:g}",
        "pin_seconds": f"{settings.pin_seconds:g}",
        "max_lag": f"{cluster.max_lag:g}",
    }


def _explained(applied: Rule, facts: dict[str, object]) -> tuple[ExplainedRule, ...]:
    rules = (OURS, WRITES, *RULES)
    place = rules.index(applied)
    return (
        *(ExplainedRule(rule.name, str(rule.title), "passed", rule.passed % facts) for rule in rules[:place]),
        ExplainedRule(applied.name, str(applied.title), "applies", applied.text % facts),
        *(ExplainedRule(rule.name, str(rule.title), "not_reached", "") for rule in rules[place + 1 :]),
    )
