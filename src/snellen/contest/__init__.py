"""Models against each other, and one against chance: the ladder and folds."""
