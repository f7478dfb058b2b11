"""A small file of the state directory, which a crash leaves as it was or as it is to be."""

import secrets
from pathlib import Path


def replace_text(file: Path, text: str) -> None:
    """Has a file of this user's hold this ASCII text. Raises OSError, and leaves what was there then."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        fresh.write_text(text, encoding="ascii")
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
