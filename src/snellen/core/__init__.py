"""What everything is made of: the nouns, a run's files, randomness, errors. Imports nothing above it."""
