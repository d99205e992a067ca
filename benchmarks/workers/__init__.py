"""What runs in processes of its own: one contestant each, so that none is touched by another's."""
