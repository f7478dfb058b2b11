"""What a write makes of an object: the four patch types, and who manages which field (ADR 51)."""
