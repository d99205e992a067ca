"""One page that writes what it is given, in one of several ways, and lists what there is."""

from django.db import transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from tests.app.models import Book


def titles():
    return Book.objects.order_by("pk").values_list("title", flat=True)


def write(title):
    Book.objects.create(title=title)


def write_in_a_transaction(title):
    with transaction.atomic():
        write(title)


def write_after_a_commit(title):
    with transaction.atomic():
        transaction.on_commit(lambda: write(title))


def page(way):
    @csrf_exempt
    def view(request):
        if title := request.POST.get("title"):
            way(title)
        return HttpResponse(",".join(titles()))

    return view


@csrf_exempt
async def asynchronous(request):
    if title := request.POST.get("title"):
        await Book.objects.acreate(title=title)
    return HttpResponse(",".join([title async for title in titles()]))


@csrf_exempt
def streamed(request):
    if title := request.POST.get("title"):
        write(title)
    return StreamingHttpResponse(f"{title}," for title in titles())


urlpatterns = [
    path("plain/", page(write)),
    path("atomic/", page(write_in_a_transaction)),
    path("on-commit/", page(write_after_a_commit)),
    path("async/", asynchronous),
    path("streamed/", streamed),
]
