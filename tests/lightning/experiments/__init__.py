"""Tests of comparisons of models."""
