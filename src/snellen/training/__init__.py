"""Training by gradient descent: settings, optimizers, learning-rate schedules, the training loop."""
