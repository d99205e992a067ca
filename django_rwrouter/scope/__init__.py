"""The memory of a request, a task or a block while it runs."""
