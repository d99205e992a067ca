"""Integrations with other packages. Each module imports the package that it is for, and is optional."""
