"""One training loop for every method that follows a gradient."""
