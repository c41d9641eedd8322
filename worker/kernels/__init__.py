"""Kernels: the user's per-event function compiled into a loop over columns, and kept on disk."""
