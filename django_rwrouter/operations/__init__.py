"""The logic behind the panel, the commands and the exporters."""
