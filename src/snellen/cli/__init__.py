"""The command line: one small file per verb, and the only place that prints."""
