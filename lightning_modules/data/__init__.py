"""Tower data for training: datasets, splits by time, network inputs, observed fluxes, scaling statistics, the data module."""
