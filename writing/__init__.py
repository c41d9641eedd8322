"""Rows to files: pieces that slots hand over, and the files that they are joined into."""
