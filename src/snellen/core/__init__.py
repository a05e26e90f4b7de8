"""Core types: task, learner, run, spec, settings, views, errors, randomness, files. Imports no other package."""
