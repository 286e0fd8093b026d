"""Scores, predictions and pictures."""
