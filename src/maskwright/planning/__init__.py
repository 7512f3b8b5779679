"""From the facts of a data set to a training plan, each number with its reason."""
