"""Whether a card computes what it should: the steps of `ms-omni accept`, what they compare with, and their document."""
