"""Snellen: open data, train a model, understand it, use it."""
