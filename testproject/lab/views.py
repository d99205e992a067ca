"""The lab's page."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from lab.experiment import MAX_STALENESS, Outcome, available_ways, run_experiment
from lab.forms import ExperimentForm


@require_http_methods(["GET", "HEAD", "POST"])
def lab(request: HttpRequest) -> HttpResponse:
    """Explain, and on POST run the experiment and show what came of it."""
    outcomes: list[Outcome] = []
    form = ExperimentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        outcomes = run_experiment(data["rounds"], data["pause"] / 1000)
    return render(
        request,
        "lab/lab.html",
        {
            "form": form,
            "outcomes": outcomes,
            "ways": available_ways(),
            "has_positions": any(way.needs_positions for way in available_ways()),
            "max_staleness": MAX_STALENESS,
            "wait_timeout": settings.RWROUTER["WAIT_TIMEOUT"],
            "replicas": settings.RWROUTER["REPLICAS"],
            "pin_seconds": settings.RWROUTER["PIN_SECONDS"],
            "simulated": settings.SQLITE_REPLICATION,
        },
    )
