"""RNTuples: their envelopes, fields and pages, and how pages become columns."""
