"""Datasets by name: what is in a catalogue, and the lists of files that other catalogues write."""
