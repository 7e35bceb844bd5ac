"""The read-only status page: data from the store and this process's memory, no request to the API server per view.

`rows` and `estate` keep a row for each trigger and run, `views` and `trigger_view` make the data of a page from them as
pure functions, the templates show it. `live` reports changes by server-sent events. Import it only where the page is
served: it loads the template engine.
"""

from .application import ROOT, StatusPage
from .facts import Decision, Decisions, Facts, HostFacts

__all__ = ["ROOT", "Decision", "Decisions", "Facts", "HostFacts", "StatusPage"]
