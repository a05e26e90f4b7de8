"""Checks of a dataset before training: unreadable files, duplicates, leakage, wrong annotations."""
