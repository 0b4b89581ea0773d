"""Which version answers this request, from which row, how old."""
