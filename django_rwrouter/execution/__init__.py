"""Execution: statements are observed at the cursor, counted, and run again where a server is lost."""
