"""The control API: what the commands do, over HTTP, for people who show a token."""
