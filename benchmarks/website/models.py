"""What the benchmarks read and write."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Item(models.Model):
    """Something that one user owns; each write of it has the next version."""

    version = models.BigIntegerField(default=0)
    text = models.CharField(max_length=100, default="")

    objects: ClassVar[models.Manager[Item]] = models.Manager()

    def __str__(self) -> str:
        return f"item {self.pk}"
