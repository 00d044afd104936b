"""A run's figures and its page."""
