"""Trained models that others can use: a folder without code (`stored_model`) and the card that describes it (`model_card`)."""
