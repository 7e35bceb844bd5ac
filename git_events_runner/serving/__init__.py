"""The two helpers that may start tasks: `running` for endless coroutines, `serving` for an HTTP application.

uvicorn parses and answers; who may connect, how long and with how many bytes is decided in `connections` and
`turnstile`, which know no HTTP. `protocol` is the one file that extends a class of uvicorn (decision 16).
"""

from .limits import Limits
from .optional import listening, served
from .server import Server, listen, serving
from .tasks import running

__all__ = ["Limits", "Server", "listen", "listening", "running", "served", "serving"]
