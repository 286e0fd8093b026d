"""Checkpoints: how they are written, read, found again, and what lets a run go on exactly."""
