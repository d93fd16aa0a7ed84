"""What the core itself offers, through the same entry points as everybody; it imports nothing of the host."""
