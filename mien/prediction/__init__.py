"""Expressions in many photos: which files are read, told by all cores, and written as they come."""
