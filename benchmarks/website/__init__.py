"""A small Django project, the same for every contestant."""
