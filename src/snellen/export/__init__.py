"""A trained model out of the door: one file that answers without Snellen."""
