"""What the tables of this package have in common: where they are, and that they may not be there yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import home_of
from django_rwrouter.databases import get_product
from django_rwrouter.scope.context import silenced

if TYPE_CHECKING:
    from typing_extensions import Self

M = TypeVar("M", bound=models.Model)


class TableMissingError(ImproperlyConfigured):
    """The table has not been made yet."""


class OwnTable(models.QuerySet[M]):
    """Reads and writes a table of this package, always starting from :meth:`on_primary`."""

    def on_primary(self) -> Self:
        """Bind to the database with the table: the primary of the cluster that takes this app."""
        bound: Self = self.using(home_of(str(self.model._meta.model_name)))
        return bound

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Read or write as this package itself: it pins nobody. Raises :class:`TableMissingError`."""
        connection = connections[self.db]
        with silenced():
            try:
                # A savepoint in a transaction of the caller's: on PostgreSQL an error would spoil all of it.
                is_inside = connection.in_atomic_block or not connection.get_autocommit()
                with transaction.atomic(using=self.db) if is_inside else nullcontext():
                    yield
            except DatabaseError as error:
                if not self.is_missing(error, connection):
                    raise
                raise TableMissingError(
                    f"The table {self.model._meta.db_table!r} does not exist in {self.db!r} yet;"
                    " run `manage.py migrate django_rwrouter`."
                ) from None

    def is_missing(self, error: DatabaseError, connection: BaseDatabaseWrapper) -> bool:
        """Whether a statement failed because there is no table yet; asks the database."""
        if not get_product(connection).errors.may_lack_table(error):
            return False  # The server itself failed: asking it again would take as long again.
        with silenced(), connection.cursor() as cursor:
            return self.model._meta.db_table not in connection.introspection.table_names(cursor)
