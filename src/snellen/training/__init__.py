"""Learning by descent: optimizers, schedules and the one loop that everything with one loss shares."""
