"""The pages of the panel, one module each: what its template shows."""
