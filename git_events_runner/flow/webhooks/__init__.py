"""Webhooks: a forge (or any sender with the secret) reports a change.

Order: limits, trigger, signature over the raw body, payload, watched reference, duplicate; then the
trigger's status records the request, and only then the response is 202. Without a record the response is
503, and the sender tries again.
"""

from .application import Webhooks
from .limits import Bounds
from .secret_checks import SecretChecks

__all__ = ["Bounds", "SecretChecks", "Webhooks"]
