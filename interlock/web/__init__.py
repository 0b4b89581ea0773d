"""The browser and the data plane: pages, inference, flags."""
