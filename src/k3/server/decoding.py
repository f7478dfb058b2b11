"""Reads the bodies of requests, the long ones beside what else the server does.

256 KiB of YAML take more than half a second, in which nobody else would be answered.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from k3.core import limits
from k3.core.objects import Kind
from k3.server.schema import bodies
from k3.server.schema.bodies import Body, FieldValidation

T = TypeVar("T")


async def decoded_body(kind: Kind, body: bytes, media_type: str, validation: FieldValidation) -> Body:
    """Returns the object in a body. Raises Refused."""
    decode = partial(bodies.decode, content_type=media_type, field_validation=validation)
    return await in_a_thread_if_long(lambda text: decode(kind, text), body)


async def in_a_thread_if_long(read: Callable[[bytes], T], body: bytes) -> T:
    """Returns what `read` makes of a body, and raises what it does."""
    if len(body) <= limits.QUICK_BODY_BYTES:
        return read(body)
    return await asyncio.to_thread(read, body)
