"""The load tests' addresses; below ``async/`` the same from the event loop."""

from django.urls import include, path

from board import load_test_api

from_the_event_loop = [
    path("posts/", load_test_api.acreate_post),
    path("posts/<int:pk>/", load_test_api.apost),
    path("latest/", load_test_api.alatest_post),
]
urlpatterns = [
    path("threads/", load_test_api.create_thread),
    path("posts/", load_test_api.create_post),
    path("posts/<int:pk>/", load_test_api.post),
    path("latest/", load_test_api.latest_post),
    path("async/", include(from_the_event_loop)),
]
