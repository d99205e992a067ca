"""What counts as a write: what reaches the primary's cursor, and nothing else."""

import contextvars
import threading

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, connections, router, transaction

from django_rwrouter import ReplicaWriteError, mark_written, routing_scope, untracked_writes, use_replica
from tests.app.models import AuditProxy, AuditRow, Author, Book, Comic, Note, Tag
from tests.sqlite.conftest import reason, replicate


def sql(statement, *params, many=False, alias="default"):
    with connections[alias].cursor() as cursor:
        (cursor.executemany if many else cursor.execute)(statement, params)


def book():
    return Book.objects.get(title="old")


def rolled_back():
    with transaction.atomic():
        Book.objects.create(title="new")
        transaction.set_rollback(True)


def failing_executemany():
    with pytest.raises(IntegrityError):
        sql("INSERT INTO app_tag (id, name) VALUES (%s, 'x')", [901], [902], [901], many=True)


def in_a_thread_of_the_request():
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(in_a_connection_of_its_own,))
    thread.start()
    thread.join()


def in_a_connection_of_its_own():
    Book.objects.create(title="new")
    connections.close_all()


WRITES = {
    "create": lambda: Book.objects.create(title="new"),
    "save": lambda: book().save(),
    "save with update_fields": lambda: book().save(update_fields=["title"]),
    "update": lambda: Book.objects.update(title="new"),
    "an update of no row": lambda: Book.objects.filter(title="none").update(title="new"),
    "delete": lambda: book().delete(),
    "a delete that cascades": lambda: Author.objects.get(name="ann").delete(),
    "bulk_create": lambda: Book.objects.bulk_create([Book(title="new")]),
    "bulk_update": lambda: Book.objects.bulk_update([book()], ["title"]),
    "get_or_create that creates": lambda: Book.objects.get_or_create(title="new"),
    "update_or_create": lambda: Book.objects.update_or_create(title="old", defaults={"title": "new"}),
    "a child of two tables": lambda: Comic.objects.create(title="new"),
    "m2m add": lambda: book().tags.add(Tag.objects.get(name="red")),
    "m2m create": lambda: book().tags.create(name="blue"),
    "m2m clear": lambda: book().tags.set([]),
    "reverse foreign key create": lambda: Author.objects.get(name="ann").books.create(title="new"),
    "raw INSERT": lambda: sql("INSERT INTO app_tag (name) VALUES (%s)", "x"),
    "raw executemany": lambda: sql("INSERT INTO app_tag (name) VALUES (%s)", ["x"], ["y"], many=True),
    "raw WITH": lambda: sql("WITH x AS (SELECT 'x' AS n) INSERT INTO app_tag (name) SELECT n FROM x"),
    "a table that is made": lambda: sql("CREATE TEMPORARY TABLE IF NOT EXISTS made (id int)"),
    "using the primary by name": lambda: Book.objects.using("default").create(title="new"),
    "a write that is rolled back": rolled_back,
    "executemany that fails": failing_executemany,
    "mark_written": mark_written,
    "in a scope inside": lambda: routing_scope()(Book.objects.create)(title="new"),
    "in a thread of the request": in_a_thread_of_the_request,
    "inside use_replica": lambda: use_replica()(Book.objects.create)(title="new"),
    "a proxy of another model": lambda: AuditProxy.objects.create(text="x"),
    "the last login of a user": lambda: User.objects.filter(username="ann").update(last_login=None),
}


def assigned_foreign_key():
    found = book()
    found.author = Author.objects.get(name="ann")
    Book(title="never saved", author=found.author).full_clean(exclude=["tags"])


def failing_insert():
    with pytest.raises(IntegrityError):
        sql("INSERT INTO app_tag (id, name) VALUES ((SELECT id FROM app_tag LIMIT 1), 'x')")


def failing_statement():
    with pytest.raises(DatabaseError):
        sql("INSERT INTO no_such_table (id) VALUES (1)")


def write_to_a_replica():
    with pytest.raises(ReplicaWriteError):
        Tag.objects.using("replica1").create(name="x")


def untracked():
    with untracked_writes():
        Book.objects.create(title="new")
        mark = Tag.objects.create(name="x")
        Book.tags.through.objects.create(book=book(), tag=mark)


NO_WRITES = {
    "a read": lambda: list(Book.objects.all()),
    "a read from the primary by name": lambda: list(Book.objects.using("default")),
    "asking for the database to write to": lambda: router.db_for_write(Book),
    "get_or_create that gets": lambda: Book.objects.get_or_create(title="old"),
    "assigning a foreign key, and full_clean": assigned_foreign_key,
    "a transaction without a write": lambda: transaction.atomic()(list)(Book.objects.all()),
    "a locking read": lambda: transaction.atomic()(list)(Book.objects.select_for_update()),
    "an update that needs no statement": lambda: Book.objects.filter(pk__in=[]).update(title="new"),
    "bulk_create of nothing": lambda: Book.objects.bulk_create([]),
    "an insert that violates a constraint": failing_insert,
    "a statement that fails": failing_statement,
    "a write that a replica refuses": write_to_a_replica,
    "untracked writes": untracked,
    "a write to another database": lambda: Tag.objects.using("other").create(name="x"),
    "a session": lambda: SessionStore().save(),
    "contenttypes": lambda: ContentType.objects.create(app_label="x", model="y"),
}
READS_TO_WRITE = {"get_or_create that gets", "a locking read"}
"""After these, the rest of the scope stays on the primary all the same."""


@pytest.fixture
def library(databases):
    ann = Author.objects.create(name="ann")
    red = Tag.objects.create(name="red")
    Book.objects.create(title="old", author=ann).tags.add(red)
    User.objects.create(username="ann")
    replicate()


@pytest.mark.parametrize("act", WRITES.values(), ids=WRITES)
def test_a_get_that_writes_pins_its_client(library, site, act):
    """Whatever the verb, and however it writes."""
    assert site.get(lambda _request: (act(), reason())[1]).text == "wrote_in_scope"
    assert "rwrouter" in site.client.cookies
    assert site.get(lambda _request: reason()).text == "pinned"


@pytest.mark.parametrize("name", NO_WRITES)
def test_a_get_that_does_not_pins_nobody(library, site, name):
    act = NO_WRITES[name]
    rest = "wrote_in_scope" if name in READS_TO_WRITE else "window"
    assert site.get(lambda _request: (act(), reason())[1]).text == rest
    assert not site.client.cookies
    assert site.get(lambda _request: reason()).text == "window"


# --- PRIMARY_ONLY ------------------------------------------------------------------------------------

AUDIT = {
    "a model": (["app.AuditRow"], lambda: AuditRow.objects.create(text="x"), False),
    "a model, by its proxy": (["app.AuditRow"], lambda: AuditProxy.objects.create(text="x"), False),
    "a proxy alone": (["app.AuditProxy"], lambda: AuditRow.objects.create(text="x"), True),
    "another model": (["app.AuditRow"], lambda: Tag.objects.create(name="x"), True),
    "an app": (["app"], lambda: Tag.objects.create(name="x"), False),
    "an update": (["app"], lambda: Book.objects.update(title="x"), False),
    "a delete": (["app"], lambda: Note.objects.all().delete(), False),
    "m2m of an app": (["app"], lambda: book().tags.create(name="x"), False),
    "m2m of a model": (["app.Book"], lambda: book().tags.set([]), False),
    "m2m of a model, both ends": (["app.Book", "app.Tag"], lambda: book().tags.create(name="x"), False),
    "m2m of a model whose other end counts": (["app.Book"], lambda: book().tags.create(name="x"), True),
    "the other end of an m2m": (["app.Tag"], lambda: book().tags.set([]), True),
    "raw SQL": (["app.Tag"], lambda: sql("INSERT INTO app_tag (name) VALUES ('x')"), False),
    "raw SQL in capitals": (["app.Tag"], lambda: sql("INSERT INTO APP_TAG (name) VALUES ('x')"), False),
    "quoted, in capitals": (["app.Tag"], lambda: sql('INSERT INTO "App_Tag" (name) VALUES (1)'), False),
    "raw SQL of an uncertain table": (
        ["app.Tag"],
        lambda: sql('INSERT INTO main."app_tag" (name) VALUES (1)'),
        True,
    ),
}


@pytest.mark.parametrize(("primary_only", "act", "pins"), AUDIT.values(), ids=AUDIT)
def test_writes_of_primary_only_models_pin_nobody(library, site, settings, primary_only, act, pins):
    settings.RWROUTER = {**settings.RWROUTER, "PRIMARY_ONLY": primary_only}
    site.get(lambda _request: act())
    assert ("rwrouter" in site.client.cookies) is pins


def test_the_database_cache_pins_nobody_and_is_read_from_the_primary(library, site, settings):
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cached"}
    }
    call_command("createcachetable")
    try:

        def view(_request):
            cache.set("key", "value")
            cache.add("other", 1)
            cache.incr("other")
            cache.touch("key")
            found = cache.get("key")
            cache.delete("key")
            cache.set_many({"a": 1, "b": 2})
            cache.clear()
            return f"{found} {reason()}"

        assert site.get(view).text == "value window"
        assert not site.client.cookies
    finally:
        sql("DROP TABLE cached")


def test_the_same_in_a_table_that_no_cache_names_counts(library, site):
    sql("CREATE TABLE cached (cache_key text)")
    try:
        site.get(lambda _request: sql("INSERT INTO cached VALUES ('x')"))
        assert "rwrouter" in site.client.cookies
    finally:
        sql("DROP TABLE cached")


# --- the admin -----------------------------------------------------------------------------------------


@pytest.fixture
def admin(library, client):
    user = User.objects.create_superuser("boss")
    replicate()
    client.force_login(user)
    client.cookies.pop("rwrouter", None)
    return client


@pytest.mark.parametrize(
    "url", ["/admin/", "/admin/auth/user/", "/admin/auth/user/add/", "/admin/auth/group/add/"]
)
def test_looking_at_the_admin_pins_nobody(admin, url):
    assert admin.get(url).status_code == 200
    assert "rwrouter" not in admin.cookies


def test_a_change_in_the_admin_is_seen_in_the_next_page(admin):
    response = admin.post("/admin/auth/group/add/", {"name": "editors"})
    assert response.status_code == 302
    assert "editors" in admin.get(response.url).content.decode()


# --- what a write does to the rest of the request -------------------------------------------------------


def test_what_runs_on_commit_sees_what_was_written(site):
    seen = []

    def view(_request):
        with transaction.atomic():
            Book.objects.create(title="new")
            transaction.on_commit(lambda: seen.append((reason(), Book.objects.count())))

    site.get(view)
    assert seen == [("wrote_in_scope", 1)]


def test_a_read_that_decides_a_write_is_the_primarys(site):
    """Check-then-insert, while no replica has the row: it is stored once."""

    def view(_request):
        if not Book.objects.filter(title="once").exists():
            Book.objects.create(title="once")
        return Book.objects.get_or_create(title="once")[1]

    for _client in range(3):
        site.forget()
        assert site.post(view).text == "False"
    assert Book.objects.using("default").count() == 1


def test_get_or_create_in_a_get_decides_on_the_primary(site):
    for created in (True, False, False):
        site.forget()
        answer = site.get(lambda _request: Book.objects.get_or_create(title="once")[1])
        assert answer.text == str(created)


def test_a_read_that_decides_a_write_under_eventual_is_stale_and_stores_it_twice(site):
    @use_replica()
    def view(_request):
        if not Book.objects.filter(title="once").exists():
            Book.objects.create(title="once")

    for _client in range(2):
        site.forget()
        site.post(view)
    assert Book.objects.using("default").count() == 2


def test_a_raw_cursor_on_the_usual_connection_stays_on_the_primary(site):
    def view(_request):
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA database_list")
            return cursor.fetchone()[2] == str(connections["default"].settings_dict["NAME"])

    assert site.get(view).text == "True"
