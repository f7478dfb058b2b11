"""Listens to mDNS for other machines and reports what they announce. A hint source: nothing heard is proven or acted on.

Theory of operation. The library's cache holds the records; its service browser is not used, since one exception in a
callback, or one odd name, silences it for good, and it never asks again by itself for most of an hour. Instead:

* A listener marks the names of instances whose records changed in a bounded, coalescing table. It does nothing else.
* `next` takes one marked name at a time, reads its records from the cache, holds them to the rules of
  `k3.network.records`, and reports the result if it differs from the last one. A slow reader costs memory for names only.
* Questions are asked on a schedule of our own (RFC 6762 §5.2): at the start, again after 1, 5 and 14 seconds, then every
  minute, with the answers already known; again after a change of links. An instance whose records are incomplete, or that
  is said to have left, is asked by its own name, a few at a time: a forged goodbye is answered by its victim.

Memory is bounded by `limits.CANDIDATES` names; the name that was heard longest ago makes room, so that a flood of
invented ones cannot keep a real one out.
"""

import asyncio
import heapq
import logging
import math
import random
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from zeroconf import RecordUpdate, RecordUpdateListener, Zeroconf, const, current_time_millis
from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSQuestion, DNSRecord, DNSService, DNSText

from k3.core import limits
from k3.core.errors import Invalid
from k3.network.mdns import Mdns, ServiceType
from k3.network.messages import Announcement, Withdrawal
from k3.network.records import HeardAddress, instance_of, read_announcement
