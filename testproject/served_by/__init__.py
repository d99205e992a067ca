"""Which databases served a page: the record, the header ``X-Served-By`` and the strip at the foot."""
