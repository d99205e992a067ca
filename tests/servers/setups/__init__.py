"""Set-ups that sites run: clusters of another kind, and what stands in front of databases."""
