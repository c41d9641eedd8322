"""TTrees: how baskets are laid out, and how they become columns."""
