"""What happens at the cursor: statements are observed, counted, and run again where a server is lost."""
