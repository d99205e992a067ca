"""Threads, and the posts in them."""

from __future__ import annotations

from django.db import models
from django.urls import reverse

AUTHOR_LENGTH = 40
TITLE_LENGTH = 120
TEXT_LENGTH = 4000


class Thread(models.Model):
    """A subject that people write about. Its first post says what it is about."""

    title = models.CharField(max_length=TITLE_LENGTH)
    author = models.CharField(max_length=AUTHOR_LENGTH)
    created = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ("-created", "-pk")

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the address of the thread's page."""
        return reverse("board:thread", args=[self.pk])


class Post(models.Model):
    """What somebody wrote in a thread."""

    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="posts")
    author = models.CharField(max_length=AUTHOR_LENGTH, db_index=True)
    text = models.TextField(max_length=TEXT_LENGTH)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:60]}"
