"""Reads the bodies of requests, the long ones beside what else the server does."""

import asyncio

from k3.core import limits
from k3.core.objects import Kind
from k3.server.schema import bodies
from k3.server.schema.bodies import Body, FieldValidation


async def decoded_body(kind: Kind, body: bytes, media_type: str, validation: FieldValidation) -> Body:
    """Returns the object in a body. Raises Refused.

    A long one is read in a thread: 256 KiB of YAML take more than half a second, in which nobody else would be answered.
    """
    if len(body) <= limits.QUICK_BODY_BYTES:
        return bodies.decode(kind, body, media_type, field_validation=validation)
    return await asyncio.to_thread(bodies.decode, kind, body, media_type, field_validation=validation)
