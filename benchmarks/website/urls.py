"""The site's pages."""

from django.urls import path

from benchmarks.website import views

urlpatterns = [
    path("", views.bare),
    path("async/", views.bare_async),
    path("one/", views.one),
    path("page/", views.page),
    path("write/", views.write),
    path("items/<int:pk>/", views.item),
]
