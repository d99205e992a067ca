"""What connects this package to others; each module here imports the one that it is for, and is optional."""
