"""From what a user passed to a fitted model."""
