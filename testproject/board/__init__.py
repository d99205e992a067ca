"""A small message board."""
