"""How the lab writes numbers."""

from __future__ import annotations

from datetime import timedelta

from django import template

register = template.Library()


@register.filter
def seconds(duration: timedelta) -> str:
    """Return a duration as milliseconds below a tenth of a second, otherwise as seconds."""
    value = duration.total_seconds()
    if value < 0.00005:
        return "less than 0.1\N{NO-BREAK SPACE}ms"
    return f"{value * 1000:.1f}\N{NO-BREAK SPACE}ms" if value < 0.1 else f"{value:.1f}\N{NO-BREAK SPACE}s"
