"""A session engine whose model is not Django's, like those of packages that list a user's devices."""

from django.contrib.sessions.backends.base import CreateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import IntegrityError

from tests.app.models import DeviceSession


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls):
        return DeviceSession

    def save(self, must_create=False):
        if self.session_key is None:
            return self.create()
        data = {"session_data": self.encode(self._get_session(no_load=must_create))}
        data["expire_date"] = self.get_expiry_date()
        try:
            if must_create:
                DeviceSession.objects.create(session_key=self.session_key, **data)
            else:
                DeviceSession.objects.filter(pk=self.session_key).update(**data)
        except IntegrityError as error:
            raise CreateError from error
        return None
