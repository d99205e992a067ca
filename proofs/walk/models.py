"""What clients write: a row that is changed, and rows that are added. Each has the number of its write."""

from __future__ import annotations

from django.db import models


class Versioned(models.Model):
    """The higher the version that a reader sees, the newer."""

    key = models.IntegerField()
    version = models.IntegerField(default=0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.key}: {self.version}"


class Cell(Versioned):
    """One row for each key, which is updated."""


class Entry(Versioned):
    """Rows that are added."""


class Cell2(Versioned):
    """The same in the other cluster."""


class Entry2(Versioned):
    """The same in the other cluster."""


TABLES: dict[tuple[str, str], type[Versioned]] = {
    ("main", "cell"): Cell,
    ("main", "entry"): Entry,
    ("second", "cell"): Cell2,
    ("second", "entry"): Entry2,
}
"""By cluster and kind."""
