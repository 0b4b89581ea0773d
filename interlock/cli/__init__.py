"""The terminal: read arguments, call app, hand a value to a view."""
