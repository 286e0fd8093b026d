"""Checkpoints of training: whole files, versions, exact resumption."""
