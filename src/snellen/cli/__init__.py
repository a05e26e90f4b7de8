"""Command-line interface: one module per verb; the only package that prints."""
