"""Models against each other, and one against chance: the ladder, folds, comparisons, studies."""
