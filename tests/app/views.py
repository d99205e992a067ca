"""Views of the tests: read with GET, write and read with POST."""

from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

from tests.app.models import Book


@csrf_exempt
def books(request):
    if request.method == "POST":
        Book.objects.create(title=request.POST["title"])
    return HttpResponse(",".join(Book.objects.values_list("title", flat=True)))


@csrf_exempt
async def async_books(request):
    if request.method == "POST":
        await Book.objects.acreate(title=request.POST["title"])
    return HttpResponse(",".join([title async for title in Book.objects.values_list("title", flat=True)]))
