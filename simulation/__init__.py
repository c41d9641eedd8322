"""The master's core in virtual time, with simulated workers and file servers."""
