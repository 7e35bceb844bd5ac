"""Reports of runs to the receivers that Notifiers name: commit statuses, webhooks.

What has to be sent is derived from the Jobs and from what each records as reported (`rules/notifications/marks`): a
crash or a change of leader loses nothing, and repeats at most the message that was under way.
"""

from .notifications import Notifications

__all__ = ["Notifications"]
