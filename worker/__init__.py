"""A worker: an agent that talks to the master, and slots that do the work."""
