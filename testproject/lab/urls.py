"""The lab's addresses."""

from django.urls import path

from lab import views

app_name = "lab"
urlpatterns = [
    path("", views.lab, name="lab"),
    path("three/", views.three_servers, name="three"),
    path("hold/", views.hold_replica, name="hold"),
]
