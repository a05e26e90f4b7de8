"""A run that answers over HTTP: what is taken, the one thread that asks the model, and the door before both."""
