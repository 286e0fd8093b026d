"""Stress modules."""
