"""Model selection: ladder, cross-validation, comparison of runs, studies and hyperparameter search."""
