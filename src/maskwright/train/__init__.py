"""From a data set to a run: facts, plan, losses, optimisers, the loop and its checkpoints."""
