"""Tower data for training."""
