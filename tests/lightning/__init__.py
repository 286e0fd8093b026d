"""Learning: data, closures, models, evaluation, command line."""
