"""Processes that a session starts: a master and a worker on this machine."""
