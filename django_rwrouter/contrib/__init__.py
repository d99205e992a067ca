"""Integrations with other packages, each optional: only the module for a package imports it."""
