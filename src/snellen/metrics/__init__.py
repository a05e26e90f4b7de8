"""Evaluation metrics as pure functions, one family per module."""
