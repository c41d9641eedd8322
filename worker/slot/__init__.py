"""A slot: one process that reads, runs the user's code, and adds up results."""
