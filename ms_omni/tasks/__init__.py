"""The tasks of the model's documents: what to ask, how, and what is in the answers."""
