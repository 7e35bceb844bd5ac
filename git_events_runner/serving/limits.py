"""What one port grants its clients."""

from __future__ import annotations

import resource
from dataclasses import dataclass

_CONNECTIONS = 1000
_OTHER_FILES = 256  # descriptors that the rest of the program needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes of one request, times of its parts, and what all connections of the port hold together.

    `message_bytes` counts everything that is received for a request: headers, framing, trailers, body. `body_s` is a
    backstop for applications that have no limit of their own. `linger_s` is how long a peer that is answered before it
    has sent its complete request may continue to send.
    """

    header_s: float = 10.0
    body_s: float = 60.0
    answer_s: float = 30.0
    idle_s: float = 75.0
    linger_s: float = 5.0
    header_bytes: int = 256 * 1024
    headers: int = 256
    message_bytes: int = 64 * 2**20
    all_headers_bytes: int = 16 * 2**20
    connections: int = _CONNECTIONS

    def most_connections(self) -> int:
        """Connections, as far as the limit of open files allows them for one of two ports."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return self.connections if soft < 0 else max(min(self.connections, (soft - _OTHER_FILES) // 2), 1)
