"""Networks with an answer for every pixel."""
