"""Arrays in, numbers or words out: how a model did, and what to make of it."""
