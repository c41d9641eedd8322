"""What users hold: sessions, queries, results."""
