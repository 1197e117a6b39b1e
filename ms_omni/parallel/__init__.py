"""Several cards: the shard table, process groups, collectives."""
