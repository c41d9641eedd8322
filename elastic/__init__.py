"""How many workers there should be, where, and at what price: pure decisions, which the master asks for."""
