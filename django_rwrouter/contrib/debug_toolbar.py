"""A panel for django-debug-toolbar: every query of the request, which database answered it, and why.

Add ``"django_rwrouter.contrib.debug_toolbar.RoutingPanel"`` to ``DEBUG_TOOLBAR_PANELS``. The panel records
plain data and renders from what is stored alone, in the language of whoever looks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from debug_toolbar.panels import Panel
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.contrib.statement_recording import Recording, listen
from django_rwrouter.decision import Reason
from django_rwrouter.scope.context import current_scope
from django_rwrouter.scope.state import RoutingState

STEPS: Final[dict[str, str | Promise]] = {
    "LoadToken": _("looked at the client's token"),
    "Open": _("opened a connection to"),
    "AskFloor": _("asked where it stands"),
    "AskPrimary": _("asked where it stands"),
    "AskReplica": _("asked where it stands"),
    "WaitFor": _("waited for it to catch up"),
}
"""Labels of a decision's steps; unknown ones are shown by name."""
REASONS: Final = {reason.value: reason.label for reason in Reason}


class RoutingPanel(Panel):
    """Lists the statements of the request on routed databases."""

    is_async = True
    title = _("Read/write routing")
    nav_title = _("Routing")
    template = "django_rwrouter/debug_toolbar_panel.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recording = Recording()

    @classmethod
    def ready(cls) -> None:
        """Connect the receiver of the statements."""
        listen()

    def enable_instrumentation(self) -> None:
        """Record this request."""
        self._recording.__enter__()

    def disable_instrumentation(self) -> None:
        """Stop recording."""
        self._recording.__exit__()

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        """Store the recording as plain data."""
        statements = self._recording.statements
        databases: dict[str, dict[str, Any]] = {}
        for statement in statements:
            used = databases.setdefault(
                statement.alias,
                {"is_primary": statement.is_primary, "reads": 0, "writes": 0, "milliseconds": 0.0},
            )
            used["reads" if statement.operation == "read" else "writes"] += 1
            used["milliseconds"] += statement.milliseconds
        self.record_stats(  # type: ignore[no-untyped-call]
            {
                "queries": list(map(asdict, statements)),
                "databases": databases,
                "clusters": list(_clusters(self._recording.state or current_scope())),
            }
        )

    @property
    def nav_subtitle(self) -> str:
        """The number of statements, and of those that a replica answered."""
        queries = self._stored().get("queries", [])
        replicas = sum(not query["is_primary"] for query in queries)
        return ngettext(
            "%(count)d query, %(replicas)d on replicas",
            "%(count)d queries, %(replicas)d on replicas",
            len(queries),
        ) % {"count": len(queries), "replicas": replicas}

    @property
    def content(self) -> str:
        """The panel, rendered from the stored data."""
        stats = self._stored()
        queries = [
            {
                **query,
                "label": REASONS.get(query["reason"], query["reason"]),
                "steps": [
                    # Tokens are in no routed database.
                    (STEPS.get(name, name), "" if name == "LoadToken" else alias, milliseconds)
                    for name, alias, milliseconds in query["steps"]
                ],
            }
            for query in stats.get("queries", [])
        ]
        return render_to_string(self.template, {**stats, "queries": queries})

    def _stored(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.get_stats()  # type: ignore[no-untyped-call]
        return stats


def _clusters(state: RoutingState | None) -> Iterator[dict[str, Any]]:
    """Yield the routing state of the request for each cluster that it used."""
    if state is None:
        return
    for name, scope in [*state.clusters.items()]:
        if cluster := get_topology().clusters.get(name):
            # Only a token that was loaded: loading it here could cost a query.
            mark = state.token.marks.get(name) if state.token else None
            kind = "unseen" if state.token is None else "none"
            if mark:
                kind = "time" if mark.position is None else "position"
            yield {
                "name": name,
                "level": cluster.settings.consistency.value,
                "replica": scope.replica or "",
                "wrote": scope.wrote,
                "pinned": scope.pinned,
                "token": kind,
                "token_age": max(0.0, time.time() - mark.touched) if mark else None,
            }
