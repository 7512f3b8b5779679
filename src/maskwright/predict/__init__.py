"""From a run to masks: whole images, any size, with probabilities and uncertainty."""
