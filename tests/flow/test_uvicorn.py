"""What `serving/protocol.py` builds on in uvicorn, which is no promise of uvicorn's: a canary for upgrades.

If a test here fails after an upgrade: read `uvicorn/protocols/http/httptools_impl.py` of the new version next to
`git_events_runner/serving/protocol.py`, see whether each name below still means the same, change the protocol, then
run `tests/flow/test_strangers.py` and `tests/flow/test_connections.py`. Decision 16 says what to do if that is no
longer possible.
"""

import ast
import inspect
import re

import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl

from git_events_runner.serving import protocol

# The private names that are read or overridden, by where they are.
PROTOCOL = {
    "connection_made",
    "connection_lost",
    "data_received",
    "on_message_begin",
    "on_headers_complete",
    "on_message_complete",
    "on_response_complete",
    "pause_writing",
    "resume_writing",
    "send_400_response",
    "shutdown",
}
ATTRIBUTES = {"transport", "flow", "client", "cycle", "headers", "loop"}
CYCLE = {"response_complete", "keep_alive", "disconnected", "message_event"}
TRANSPORT = {"write", "close", "is_closing"}


def test_the_version_is_the_one_that_was_read():
    """A new version of uvicorn is read before it is used; then this line changes."""
    assert uvicorn.__version__ == "0.54.0"


def test_the_names_are_still_there():
    """Every callback that is overridden, every attribute that is read, exists in uvicorn's classes."""
    base = httptools_impl.HttpToolsProtocol
    assert {name for name in PROTOCOL if not callable(getattr(base, name, None))} == set()
    made = inspect.getsource(base.__init__)
    assert {name for name in ATTRIBUTES if f"self.{name}" not in made} == set()
    cycle = inspect.getsource(httptools_impl.RequestResponseCycle.__init__)
    assert {name for name in CYCLE if f"self.{name} =" not in cycle} == set()
    used = re.findall(r"self\.transport\.(\w+)", inspect.getsource(httptools_impl))
    assert set(used) - {"set_protocol"} == TRANSPORT  # that one is for WebSocket, which is off
    assert callable(flow_control.FlowControl.pause_reading)
    assert callable(flow_control.FlowControl.resume_reading)


def test_what_is_relied_on_is_still_done():
    """Headers are appended to `headers`, answers end in `on_response_complete`, a cycle obeys `keep_alive`."""
    base = httptools_impl.HttpToolsProtocol
    assert "self.headers.append(" in inspect.getsource(base.on_header)
    assert "on_response=self.on_response_complete" in inspect.getsource(base.on_headers_complete)
    sends = inspect.getsource(httptools_impl.RequestResponseCycle.send)
    assert "if not self.keep_alive:\n                    self.transport.close()" in sends


def test_this_page_lists_what_the_protocol_overrides():
    """No override of a name of uvicorn's class is missing above."""
    tree = ast.parse(inspect.getsource(protocol))
    guarded = next(one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == "GuardedProtocol")
    defined = {one.name for one in guarded.body if isinstance(one, ast.FunctionDef)}
    assert defined & set(dir(httptools_impl.HttpToolsProtocol)) == PROTOCOL
