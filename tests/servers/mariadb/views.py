"""Pages that write in every way there is, and then show what they read.

Each writes a book where the request has a ``title``, by GET too, and then lists the titles of all books.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from django_rwrouter import mark_written, read_connection
from tests.app.models import Book

INSERT = "INSERT INTO app_book (title) VALUES (%s)"
DUPLICATE = "INSERT INTO app_book (id, title) SELECT id, title FROM app_book"


def titles():
    return Book.objects.order_by("pk").values_list("title", flat=True)


def shown(found):
    return HttpResponse(",".join(found))


# --- ways of writing ----------------------------------------------------------------------------


def by_orm(title):
    Book.objects.create(title=title)


def by_raw_sql(title):
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [title])


def by_many_statements(title):
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, [[title]])


def in_a_transaction(title):
    with transaction.atomic():
        Book.objects.create(title=title)
        # Read before the commit, which nobody but this transaction could see.
        assert title in titles()


def in_a_savepoint(title):
    with transaction.atomic(), transaction.atomic():
        Book.objects.create(title=title)


def after_a_commit(title):
    with transaction.atomic():
        transaction.on_commit(lambda: Book.objects.create(title=title))


def with_autocommit_off(title):
    transaction.set_autocommit(False)
    try:
        Book.objects.create(title=title)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)


def by_bulk_create(title):
    Book.objects.bulk_create([Book(title=title)])


def by_naming_the_primary(title):
    Book.objects.using("default").create(title=title)


def in_a_thread(title):
    def write():
        try:
            Book.objects.create(title=title)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, write).result()


def by_another_driver(title):
    """Write where no cursor of Django's sees it."""
    parameters = connection.get_connection_params()
    with closing(connection.Database.connect(**parameters)) as other, closing(other.cursor()) as cursor:
        cursor.execute(INSERT, [title])
        other.commit()
    mark_written()


WAYS = {
    "orm": by_orm,
    "raw": by_raw_sql,
    "executemany": by_many_statements,
    "atomic": in_a_transaction,
    "savepoint": in_a_savepoint,
    "on-commit": after_a_commit,
    "autocommit-off": with_autocommit_off,
    "bulk-create": by_bulk_create,
    "using": by_naming_the_primary,
    "thread": in_a_thread,
    "another-driver": by_another_driver,
}


def page(write):
    @csrf_exempt
    def view(request):
        title = request.POST.get("title") or request.GET.get("title")
        if title:
            write(title)
        return shown(titles())

    return view


# --- the same on the event loop -----------------------------------------------------------------


async def by_async_orm(title):
    await Book.objects.acreate(title=title)


async def in_a_task(title):
    await asyncio.gather(Book.objects.acreate(title=title), Book.objects.acount())


async def by_sync_code(title):
    await sync_to_async(in_a_transaction)(title)


ASYNC_WAYS = {
    "async-orm": by_async_orm,
    "async-gather": in_a_task,
    "async-atomic": by_sync_code,
}


def async_page(write):
    @csrf_exempt
    async def view(request):
        title = request.POST.get("title") or request.GET.get("title")
        if title:
            await write(title)
        return shown([found async for found in titles()])

    return view


# --- more ---------------------------------------------------------------------------------------


def twice(request):
    """Count the books twice: ORM and raw SQL."""
    with read_connection().cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM app_book")
        [count] = cursor.fetchone()
    return HttpResponse(f"{Book.objects.count()},{count}")


def write_until_killed(request):
    """Write for as long as it takes somebody to end the connection."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO app_book (title) SELECT IF(SLEEP(60), 'late', 'later')")
    except DatabaseError as error:
        connection.close()
        return HttpResponse(str(error.args[0]))
    raise AssertionError("Nobody ended the connection.")


def write_a_duplicate(request):
    """Try what fails as a whole: a key that is there already."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(DUPLICATE)
    except DatabaseError as error:
        return HttpResponse(str(error.args[0]))
    raise AssertionError("The database took a duplicate.")


def visits(request):
    """Write nothing but the session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"{request.session['visits']}: {','.join(titles())}")


def stream(request):
    """Read while the body is being sent."""
    if title := request.GET.get("title"):
        by_orm(title)
    return StreamingHttpResponse(f"{title}," for title in titles())
