"""Who asks the server, what that user may do, and how much of the server one of them may use (ADR 52)."""
