"""Integrations with other packages. A module that is for one package alone imports it, and is optional."""
