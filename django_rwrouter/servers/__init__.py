"""What this process knows of its servers, and how it asks them."""
