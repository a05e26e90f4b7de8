"""Networks with an output at every pixel."""
