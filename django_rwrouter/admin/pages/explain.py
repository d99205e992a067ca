"""The page "Explain": which rule a read would meet, step by step, from the engine itself."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from django import forms
from django.apps import apps
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext_lazy as _

from django_rwrouter.decision import Level
from django_rwrouter.operations.explain import explain
from django_rwrouter.operations.hypothetical_read import Question
from django_rwrouter.scope.state import BlockKind

OUTSIDE: Final = "outside"
"""In place of a method. Not empty: that is a question that was not asked."""
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class ExplainForm(forms.Form):
    """A read that somebody wants to know about."""

    model = forms.ChoiceField(label=_("Model"))
    method = forms.ChoiceField(
        label=_("Request method"),
        choices=[*((method, method) for method in METHODS), (OUTSIDE, _("outside any request"))],
    )
    level = forms.ChoiceField(
        label=_("Level, of the settings or of a consistency() block"),
        required=False,
        choices=[("", _("as in the settings")), *((level.value, level.value) for level in Level)],
    )
    block = forms.ChoiceField(
        label=_("Inside a block"),
        required=False,
        choices=[("", _("none")), *((kind.value, f"{kind.value}()") for kind in BlockKind)],
    )
    max_staleness = forms.FloatField(
        label=_("Seconds that a replica may be behind, at the level “bounded”"),
        min_value=0,
        initial=1,
        required=False,
    )
    token_age = forms.FloatField(
        label=_("Seconds since the client wrote, in an earlier request"),
        min_value=0,
        required=False,
        help_text=_("Leave it empty for a client that has not written."),
    )
    wrote = forms.BooleanField(label=_("This request has written already"), required=False)
    in_transaction = forms.BooleanField(label=_("Inside a transaction on the primary"), required=False)
    from_primary = forms.BooleanField(
        label=_("It follows an object that was read from the primary"), required=False
    )

    def __init__(self, data: QueryDict | None) -> None:
        super().__init__(data, label_suffix="")
        models = sorted(apps.get_models(), key=lambda model: (model._meta.app_label, model.__name__))
        self.fields["model"].choices = [  # type: ignore[attr-defined]
            (
                str(apps.get_app_config(label).verbose_name),
                [(model._meta.label, model._meta.label) for model in group],
            )
            for label, group in groupby(models, key=attrgetter("_meta.app_label"))
        ]

    def question(self) -> Question:
        """Return what was asked, of valid data."""
        asked = self.cleaned_data
        method = "" if asked["method"] == OUTSIDE else asked["method"]
        return Question.of(apps.get_model(asked["model"]), {**asked, "method": method})


def context(request: HttpRequest) -> dict[str, Any]:
    """Answer the question, if one was asked."""
    asked = "model" in request.GET
    form = ExplainForm(request.GET if asked else None)
    if not asked or not form.is_valid():
        return {"form": form}
    explanation = explain(form.question())
    outcomes: list[tuple[object, object]] = [("", explanation.outcome)] if explanation.outcome else []
    if explanation.otherwise:
        outcomes = [
            (_("If a replica has what is asked of it"), explanation.outcome),
            (_("If all replicas are too far behind"), explanation.otherwise),
        ]
    return {
        "form": form,
        "explanation": explanation,
        "applied": next((rule for rule in explanation.rules if rule.verdict == "applies"), None),
        "outcomes": outcomes,
    }
