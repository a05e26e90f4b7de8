"""Synthetic and built-in datasets: digits, toy sets, and rendered solid shapes."""
