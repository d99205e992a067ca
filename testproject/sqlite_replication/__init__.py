"""Replicas for SQLite, as a simulation: lagging copies of the primary's file."""
