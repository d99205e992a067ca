"""The lab's page."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from board.views import SeeOther
from lab.experiment import MAX_STALENESS, Outcome, available_ways, run_experiment, run_three_servers
from lab.forms import ExperimentForm
from sqlite_replication import simulator


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
            "held": _held(),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
def three_servers(request: HttpRequest) -> HttpResponse:
    """Explain, and on POST write once for each way and show what three servers saw."""
    rows = run_three_servers() if request.method == "POST" else []
    return render(request, "lab/three.html", {"rows": rows, "ways": available_ways(), "held": _held()})


@require_POST
def hold_replica(request: HttpRequest) -> HttpResponse:
    """Hold a simulated replica, or let it go; then show the page again that the button is on."""
    path = _simulated_replicas().get(request.POST.get("replica", ""))
    if path is None:
        raise Http404
    if request.POST.get("action") == "hold":
        simulator.hold(path)
    else:
        simulator.release(path)
    return SeeOther(reverse("lab:three" if "three" in request.POST else "lab:lab"))


def _simulated_replicas() -> dict[str, Path]:
    """Return the replicas' files by alias; none where the databases replicate by themselves."""
    simulated = settings.SQLITE_REPLICATION
    return (
        {}
        if simulated is None
        else dict(zip(settings.RWROUTER["REPLICAS"], simulated["replicas"], strict=True))
    )


def _held() -> list[tuple[str, bool]]:
    return [(alias, simulator.is_held(path)) for alias, path in _simulated_replicas().items()]
