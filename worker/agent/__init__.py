"""The agent: decides (pure) what its slots do and when results are committed, and moves messages."""
