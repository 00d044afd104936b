"""What predictions are worth: scores of classes, errors of points, calibration."""
