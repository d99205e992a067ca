"""What a request, a task or a block remembers while it runs."""
