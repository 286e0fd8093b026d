"""Tests of models that are shared."""
