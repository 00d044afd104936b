"""A trained model in use: from pixels to an answer, without a trainer."""
