"""The subcommands of ``manage.py rwrouter``."""
