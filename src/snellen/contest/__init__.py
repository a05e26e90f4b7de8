"""Models against each other: the ladder."""
