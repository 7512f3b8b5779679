"""Pixels from files: images and masks of every type, as arrays in their native values."""
