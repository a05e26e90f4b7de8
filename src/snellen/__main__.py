"""`python -m snellen`."""

from snellen.cli.main import script

script()
