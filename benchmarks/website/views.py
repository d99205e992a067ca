"""The views that are asked: as small as views can be."""

from __future__ import annotations

from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse

from benchmarks.website.models import Author, Comment, Item, Tag


def bare(request: HttpRequest) -> HttpResponse:
    """Do nothing."""
    return HttpResponse(b"")


async def bare_async(request: HttpRequest) -> HttpResponse:
    """Do nothing, on the event loop."""
    return HttpResponse(b"")


def one(request: HttpRequest) -> HttpResponse:
    """Read one row; where there are users, look who asks."""
    if hasattr(request, "user") and not request.user.is_authenticated:
        return HttpResponse(status=403)
    return HttpResponse(Item.objects.get(pk=1).text)


def page(request: HttpRequest) -> HttpResponse:
    """Read twelve rows of four models."""
    texts = [
        f"{Item.objects.get(pk=pk)} {Author.objects.get(pk=pk).name} {Tag.objects.get(pk=pk).name}"
        f" {Comment.objects.get(pk=pk).text}"
        for pk in (1, 2, 3)
    ]
    return HttpResponse("\n".join(texts))


def write(request: HttpRequest) -> HttpResponse:
    """Write one row."""
    Item.objects.filter(pk=1).update(text="written")
    return HttpResponse(b"")


def item(request: HttpRequest, pk: int) -> HttpResponse:
    """Return an item's version and the database that said so; POST gives it the version of ``?version=``.

    A POST answers with a redirect, as forms do, and with the position of its write in the binary log
    (``@@last_gtid``), by which the oracle knows which replica had it when.
    """
    if request.method == "POST":
        Item.objects.filter(pk=pk).update(version=int(request.GET["version"]))
        with connection.connection.cursor() as cursor:  # The driver's own: no router and no hook sees it.
            cursor.execute("SELECT @@last_gtid")
            [position] = cursor.fetchone()
        response = HttpResponseRedirect(f"/items/{pk}/", status=303)
        response.write(position)
        return response
    found = Item.objects.filter(pk=pk).first()
    if found is None:
        raise Http404
    return JsonResponse({"version": found.version, "database": found._state.db})
