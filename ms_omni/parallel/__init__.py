"""Several cards: who stores what, process groups, collectives."""
