"""What teams declare, and the address of every noun."""
