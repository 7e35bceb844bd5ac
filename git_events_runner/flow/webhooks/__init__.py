"""Webhooks: a forge (or anybody with the secret) says that something changed.

Order: limits, trigger, signature over the raw body, payload, is it about a watched reference, seen before; then the
request is counted in the trigger's status, and only then answered with 202. What cannot be counted is answered with
503: nothing was promised, the sender tries again.
"""

from .application import Webhooks
from .limits import Bounds
from .secret_checks import SecretChecks

__all__ = ["Bounds", "SecretChecks", "Webhooks"]
