"""A small library, with every kind of relation that the router has to follow."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Book(models.Model):
    title = models.CharField(max_length=100)
    author = models.ForeignKey(Author, models.CASCADE, null=True, related_name="books")
    tags = models.ManyToManyField(Tag, related_name="books")

    def __str__(self):
        return self.title


class Comic(Book):
    """Multi-table inheritance: two tables for one object."""

    issue = models.IntegerField(default=1)


class AuditRow(models.Model):
    """For PRIMARY_ONLY, and for writes that pin nobody."""

    text = models.CharField(max_length=100)

    def __str__(self):
        return self.text


class Note(models.Model):
    """Points at anything."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.BigIntegerField()
    target = GenericForeignKey()
    text = models.CharField(max_length=100, default="")

    def __str__(self):
        return str(self.object_id)


class Shelf(models.Model):
    """Django binds what is read through its relation when the queryset is built."""

    name = models.CharField(max_length=100)
    notes = GenericRelation(Note)

    def __str__(self):
        return self.name


class Profile(models.Model):
    author = models.OneToOneField(Author, models.CASCADE)
    text = models.CharField(max_length=100)

    def __str__(self):
        return self.text


class AuditProxy(AuditRow):
    """The same table under another name."""

    class Meta:
        proxy = True


class DeviceSession(models.Model):
    """Rows of ``tests.app.device_sessions``."""

    session_key = models.CharField(max_length=40, primary_key=True)
    session_data = models.TextField()
    expire_date = models.DateTimeField()

    def __str__(self):
        return self.session_key
