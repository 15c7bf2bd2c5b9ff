"""Turn tokens into features and logits: the encoder, its heads, and how they are run."""
