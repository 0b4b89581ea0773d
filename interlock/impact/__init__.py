"""What reads what, column by column, and so what a change will break."""
