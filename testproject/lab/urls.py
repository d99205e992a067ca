"""The lab's one address."""

from django.urls import path

from lab import views

app_name = "lab"
urlpatterns = [path("", views.lab, name="lab")]
