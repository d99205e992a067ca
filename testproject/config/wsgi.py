"""The WSGI application: ``gunicorn config.wsgi``.

It also answers for the static files, whatever DEBUG says: this project exists to be started with
one command, not to be fast at serving CSS.
"""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = StaticFilesHandler(get_wsgi_application())
