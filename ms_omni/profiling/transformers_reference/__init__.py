"""Programs for a Python that has torch and transformers, and not this package: they import nothing of it."""
