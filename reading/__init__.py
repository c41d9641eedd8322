"""Files as columns: readers, what an analysis sees of a file, how arrays of events are made."""
