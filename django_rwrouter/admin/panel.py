"""The panel's place in the admin: addresses, permissions, navigation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, re_path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_rwrouter.admin.pages import actions, events, explain, now, over_time, replication
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.middleware import UNCOUNTED
from django_rwrouter.operations.override_actions import ACTIONS, Action
from django_rwrouter.stats.table import CHANGE, VIEW, RoutingStatistics

if TYPE_CHECKING:
    Base = admin.ModelAdmin[RoutingStatistics]
else:
    Base = admin.ModelAdmin


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, reached from the navigation."""

    name: str
    """Part of its address and of its URL's name."""
    title: Promise
    context: Callable[[HttpRequest], dict[str, Any]]
    refresh_seconds: int = 0
    """How often the page fetches itself anew, where there is JavaScript; 0 for never."""
    permission: str = VIEW

    @property
    def template(self) -> str:
        """The part of the page below the navigation."""
        return f"admin/django_rwrouter/{self.name}.html"


PAGES: Final = (
    Page(name="now", title=gettext_lazy("Now"), context=now.context, refresh_seconds=5),
    Page(name="over-time", title=gettext_lazy("Over time"), context=over_time.context, refresh_seconds=30),
    Page(
        name="replication", title=gettext_lazy("Replication"), context=replication.context, refresh_seconds=5
    ),
    Page(name="events", title=gettext_lazy("Events"), context=events.context, refresh_seconds=10),
    Page(name="explain", title=gettext_lazy("Explain"), context=explain.context),
    Page(name="actions", title=gettext_lazy("Actions"), context=actions.context, permission=CHANGE),
)
"""In the order of the navigation; the first is where the admin's index leads."""


@admin.register(RoutingStatistics)
class RoutingAdmin(Base):
    """The pages, for those who have the permission of their own.

    The model is registered for its place in the admin's index; its rows are nobody's to see or to edit.
    """

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Allow whoever has ``view_routing``, also to see the app in the index."""
        return request.user.has_perm(VIEW)

    has_module_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Rows are made by processes; people neither make, change nor delete any."""
        return False

    has_change_permission = has_delete_permission = has_add_permission

    def get_urls(self) -> list[URLPattern]:
        """Have the pages, the first at the address where the index expects the change list."""

        def wrap(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
            wrapped: Callable[..., HttpResponse] = self.admin_site.admin_view(view)
            # The statistics leave it out: who looks must not change the picture.
            setattr(wrapped, UNCOUNTED, True)
            return wrapped

        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        urls = [path("", wrap(self.changelist_view), name=f"{prefix}_changelist")]
        urls += [
            path(f"{page.name}/", wrap(partial(self.show, page=page)), name=f"{prefix}_{page.name}")
            for page in PAGES[1:]
        ]
        urls += [
            # A target is whatever DATABASES calls it, with slashes and line breaks.
            re_path(
                rf"^actions/{action.name}/(?P<target>[\s\S]+)/\Z",
                wrap(partial(self.act, action=action)),
                name=f"{prefix}_{action.name}",
            )
            for action in ACTIONS
        ]
        return urls

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the first page."""
        return self.show(request, page=PAGES[0], extra_context=extra_context)

    def show(
        self, request: HttpRequest, *, page: Page, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a page, or only what the script that refreshes it puts into its place."""
        self._require(request, page.permission)
        context: dict[str, Any] = {"template": "admin/django_rwrouter/_inert.html"}
        if not get_settings().inert:
            context = {**page.context(request), "can_act": self.may_act(request), "template": page.template}
            context["several_clusters"] = len(get_topology().clusters) > 1
            context["flush_seconds"] = get_settings().stats.flush_seconds
        if "fragment" in request.GET:
            return TemplateResponse(request, context["template"], context)
        context |= self._frame(request, page) | (extra_context or {})
        return TemplateResponse(request, "admin/django_rwrouter/panel.html", context)

    def act(self, request: HttpRequest, *, action: Action, target: str) -> HttpResponse:
        """Ask for a confirmation of an action, or carry it out."""
        self._require(request, CHANGE)
        outcome, form = actions.handle(request, action, target)
        if outcome is not None:
            self.message_user(request, *outcome)
            return HttpResponseRedirect(self.url_of(PAGES[0]))
        page = next(page for page in PAGES if page.name == "actions")
        context = self._frame(request, page) | {"form": form, "action": action, "target": target}
        context |= {"question": str(action.question) % {"target": target}, "back": self.url_of(PAGES[0])}
        return TemplateResponse(request, "admin/django_rwrouter/confirm.html", context)

    def may_act(self, request: HttpRequest) -> bool:
        """Whether the user may drain replicas and throw the kill switch."""
        return self.has_view_permission(request) and request.user.has_perm(CHANGE)

    def url_of(self, page: Page) -> str:
        """Return the address of a page."""
        name = "changelist" if page is PAGES[0] else page.name
        site = self.admin_site.name
        return reverse(f"{site}:{self.opts.app_label}_{self.opts.model_name}_{name}", current_app=site)

    def _require(self, request: HttpRequest, permission: str) -> None:
        if not (self.has_view_permission(request) and request.user.has_perm(permission)):
            raise PermissionDenied

    def _frame(self, request: HttpRequest, page: Page) -> dict[str, Any]:
        """Return what every page has around its own part."""
        shown = [other for other in PAGES if request.user.has_perm(other.permission)]
        return {
            **self.admin_site.each_context(request),
            "title": _("Read/write routing"),
            "page": page,
            "navigation": [(other.title, self.url_of(other), other is page) for other in shown],
            "opts": self.opts,
            "enabled": get_settings().enabled,
        }
