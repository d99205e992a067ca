"""The app: listens to what the router sends."""

from django.apps import AppConfig

from django_rwrouter.signals import statement_routed


class ServedByConfig(AppConfig):
    """Connects the record to the router's signal."""

    name = "served_by"
    verbose_name = "Served by"

    def ready(self) -> None:
        """Start to listen."""
        from served_by.record import remember

        statement_routed.connect(remember, dispatch_uid="served_by")
