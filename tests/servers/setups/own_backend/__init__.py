"""A database backend of a site."""
