"""Scores, predictions files, tables and the picture of a run."""
