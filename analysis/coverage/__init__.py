"""Which model types of transformers can be captured: tried on a tiny random model of each."""
