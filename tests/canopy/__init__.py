"""The assembled canopy: against an independent solution, against itself, and against published runs."""
