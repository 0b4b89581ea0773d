"""When a model is due, and what to propose."""
