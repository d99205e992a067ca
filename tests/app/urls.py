"""The URLs of the tests."""

from django.contrib import admin
from django.urls import path

from tests.app import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("books/", views.books),
    path("async/books/", views.async_books),
]
