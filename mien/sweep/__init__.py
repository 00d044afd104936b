"""Searching an experiment's keys by Optuna: trials are runs, chosen by the choose role, by one worker or many."""
