"""How fast eventmill and others are, on the same machine in the same run: `python -m benchmarks.throughput`."""
