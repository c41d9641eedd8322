"""Contexts: what a new machine reads when it boots, as cloud-init's user-data, so that it becomes a worker or a facility."""
