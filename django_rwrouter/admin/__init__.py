"""The panel "Read/write routing" of the admin: what the servers do, what they did, and what to do about it.

One module for each page: it gathers what its template shows, and nothing else. What they have in common (the
navigation, who may see what, the part of a page that refreshes itself) is in
:mod:`~django_rwrouter.admin.panel`.
"""

from django_rwrouter.admin.panel import RoutingAdmin

__all__ = ["RoutingAdmin"]
