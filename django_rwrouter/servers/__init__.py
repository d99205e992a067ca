"""This process's knowledge of its servers, and how it queries them."""
