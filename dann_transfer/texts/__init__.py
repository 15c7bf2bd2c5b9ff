"""The path of texts: what a user passed → checked texts → roles → weights → tokens → batches."""
