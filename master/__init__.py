"""The master: who works on what (pure cores), its journal, and the loop that moves messages."""
