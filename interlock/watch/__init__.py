"""What happened: calibration from arrived labels, drift."""
