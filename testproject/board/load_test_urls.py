"""The load tests' addresses."""

from django.urls import path

from board import load_test_api

urlpatterns = [
    path("threads/", load_test_api.create_thread),
    path("posts/", load_test_api.create_post),
    path("posts/<int:pk>/", load_test_api.post),
    path("latest/", load_test_api.latest_post),
]
