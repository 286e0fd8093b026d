"""Tests of the exported program."""
