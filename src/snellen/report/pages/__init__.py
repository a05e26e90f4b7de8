"""The page of a run and of a ladder: one HTML file that opens offline, and the model card beside it."""
