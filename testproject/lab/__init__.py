"""The lab: makes stale reads visible, and what each level does about them."""
