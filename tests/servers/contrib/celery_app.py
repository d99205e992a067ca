"""The Celery app of the tests, as Celery's guide for Django projects makes one."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.servers.contrib.settings")

app = Celery("tests")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tests.servers.contrib"], related_name="celery_tasks")
