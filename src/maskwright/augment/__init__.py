"""From a sample to a batch: preprocessing, random views, mixing, loading."""
