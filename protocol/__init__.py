"""What is on the wire: messages, how they are encoded, keys, errors."""
