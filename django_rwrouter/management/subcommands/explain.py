"""`explain`: the routing rules applied to a read. Asks only the primary, for overrides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import Style
from django.db import Error

from django_rwrouter.conf.validators import did_you_mean
from django_rwrouter.decision import Level
from django_rwrouter.events import emit
from django_rwrouter.management.numbers import age
from django_rwrouter.operations import overrides
from django_rwrouter.operations.explain import ExplainedRule, Explanation, explain
from django_rwrouter.operations.hypothetical_read import Outcome, Question
from django_rwrouter.printable import printable
from django_rwrouter.scope.state import BlockKind

summary: Final = "Explains where a read of a model would go, rule by rule."
_SIGNS: Final = {"passed": "no", "applies": "yes", "not_reached": "-"}


def add_arguments(parser: CommandParser) -> None:
    """Add the properties of the read."""
    parser.add_argument("model", metavar="app.Model")
    inside = parser.add_mutually_exclusive_group()
    inside.add_argument("--method", default="GET", help="of the request (default: GET)")
    inside.add_argument("--outside", action="store_true", help="outside any request, task or scope")
    parser.add_argument(
        "--level",
        choices=[level.value for level in Level],
        help="as if CONSISTENCY said so; bounded as if in a block of its own",
    )
    parser.add_argument(
        "--block",
        choices=[kind.value for kind in BlockKind],
        help="inside this block (consistency: with --level)",
    )
    parser.add_argument("--max-staleness", type=age, default=1.0, metavar="SECONDS", help="for bounded")
    parser.add_argument(
        "--token-age", type=age, metavar="SECONDS", help="how long ago the client wrote, in another request"
    )
    parser.add_argument("--wrote", action="store_true", help="this request has written already")
    parser.add_argument("--atomic", action="store_true", help="inside atomic() on the primary")
    parser.add_argument(
        "--from-primary", action="store_true", help="follows an object that was read from the primary"
    )
    parser.add_argument("--write", action="store_true", help="a write, rather than a read")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(command: BaseCommand, **options: Any) -> None:
    """Print what each rule says of the read, and where it goes."""
    method = "" if options["outside"] else options["method"].upper()
    question = Question.of(
        _model(options["model"]), {**options, "method": method, "in_transaction": options["atomic"]}
    )
    try:
        overrides.apply(overrides.in_force(), quietly=True)
    except Error as error:
        command.stderr.write(
            f"The primary could not be asked what is drained or switched off ({emit.why(error)})."
        )
    explanation = explain(question)
    if options["json"]:
        command.stdout.write(json.dumps(as_json(explanation), indent=2))
        return
    for line in _lines(printable(explanation), command.style):
        command.stdout.write(line)


def _model(label: str) -> Any:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        labels = [model._meta.label for model in apps.get_models(include_auto_created=True)]
        raise CommandError(f"There is no model {label!r}. {did_you_mean(label, labels)}".rstrip()) from None


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as plain data."""
    return {
        "model": explanation.question.model._meta.label,
        "cluster": explanation.cluster,
        "level": explanation.level.value if explanation.level else None,
        "rules": [asdict(rule) for rule in explanation.rules],
        "outcome": _outcome_as_json(explanation.outcome),
        "otherwise": _outcome_as_json(explanation.otherwise),
    }


def _outcome_as_json(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    decision = outcome.decision
    return {
        "reason": decision.reason.value,
        "label": str(decision.reason.label),
        "shadow": decision.would_be is not None,
        "among": list(outcome.among),
        "steps": list(outcome.steps),
    }


def _lines(explanation: Explanation, style: Style) -> Iterator[str]:
    yield style.MIGRATE_HEADING(explanation.question.model._meta.label)
    for rule in explanation.rules:
        yield _rule(rule, style)
    yield ""
    if explanation.outcome is None:
        yield style.SUCCESS("-> not decided here")
        return
    yield from _outcome(explanation.outcome, style)
    if explanation.otherwise is not None:
        yield "If all replicas are too far behind:"
        yield from _outcome(explanation.otherwise, style)


def _rule(rule: ExplainedRule, style: Style) -> str:
    sign = f"{_SIGNS[rule.verdict]:3}"
    if rule.verdict == "applies":
        return f"  {style.SUCCESS(sign)}  {rule.title}: {rule.text}"
    return f"  {sign}  {rule.title}{': ' if rule.text else ''}{rule.text}"


def _outcome(outcome: Outcome, style: Style) -> Iterator[str]:
    decision = outcome.decision
    for number, step in enumerate(outcome.steps, 1):
        yield f"  {number}. {step}"
    among = " or ".join(outcome.among)
    if decision.would_be is not None:
        among = f"{decision.alias} (in shadow; {among} would answer)"
    yield style.SUCCESS(f"-> {among}") + f"  {decision.reason.value}: {decision.reason.label}"
