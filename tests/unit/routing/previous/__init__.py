"""The engine as it was, for comparison."""
