"""Search for hyperparameters, or repeat a training with several seeds or folds: every trial is a process of `fit`."""
