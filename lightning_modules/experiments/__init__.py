"""Comparisons of models that answer a question: rows, splits and seeds as runs, their scores, and a verdict."""
