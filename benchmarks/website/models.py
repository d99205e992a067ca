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


class Author(models.Model):
    """Of the page that reads from several tables."""

    name = models.CharField(max_length=100, default="")

    objects: ClassVar[models.Manager[Author]] = models.Manager()

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    """Of the same page."""

    name = models.CharField(max_length=100, default="")

    objects: ClassVar[models.Manager[Tag]] = models.Manager()

    def __str__(self) -> str:
        return self.name


class Comment(models.Model):
    """Of the same page."""

    text = models.CharField(max_length=100, default="")

    objects: ClassVar[models.Manager[Comment]] = models.Manager()

    def __str__(self) -> str:
        return self.text
