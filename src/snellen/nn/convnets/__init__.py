"""Convolutional networks for pictures."""
