"""Facts put into words, tables and progress lines, for people."""
