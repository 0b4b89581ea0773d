"""The only place handed something that writes; it closes the loop."""
