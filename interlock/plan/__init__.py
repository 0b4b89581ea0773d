"""The difference from what runs today, as an ordered list of steps."""
