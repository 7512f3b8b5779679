"""What a data set is: samples, class tables, splits, and the formats they are read from."""
