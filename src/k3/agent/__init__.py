"""What every source stands on, and nothing of any one source: the store seen and written, this machine, its health server."""
