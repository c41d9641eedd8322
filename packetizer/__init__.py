"""Which entries go to which slot next, how many at a time, and the ledger of what became of each."""
