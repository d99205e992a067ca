"""What the experiment writes and looks for."""

from django.db import models
from django.utils import timezone


class Probe(models.Model):
    """A row whose only purpose is to be read back. Later probes have higher keys."""

    written_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"Probe {self.pk}, written {self.written_at:%H:%M:%S.%f}"
