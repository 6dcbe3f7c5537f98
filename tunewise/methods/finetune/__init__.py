"""Training weights of the backbone itself, or output layers on it."""
