"""What a model needs on how many cards, and how fast it would be: arithmetic, without loading any weight."""
