"""The board's addresses."""

from django.urls import path

from board import views

app_name = "board"
urlpatterns = [
    path("", views.thread_list, name="threads"),
    path("new/", views.new_thread, name="new"),
    path("threads/<int:pk>/", views.thread_page, name="thread"),
]
