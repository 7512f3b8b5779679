"""The training loop and what stands around it: runs, folds, losses, optimisers, checkpoints."""
