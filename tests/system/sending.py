"""Sends webhooks to replicas: whole answers, raw bytes; and a door before the API server that can be shut."""

import base64
import contextlib
import http.client
import json
import socket
import threading
from dataclasses import dataclass

from tests.cluster.plane import free_port


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a replica answered."""

    status: int
    body: dict
    headers: dict

    @property
    def task(self):
        """The task id."""
        return self.body.get("task_id")


def send(replica, path, delivery=({}, b""), *, method="POST"):
    """One request on a connection of its own; status 0 if the connection broke."""
    headers, body = delivery
    connection = http.client.HTTPConnection("127.0.0.1", replica.hooks, timeout=40)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException):
        return Answer(status=0, body={}, headers={})
    finally:
        connection.close()
    return Answer(status=answer.status, body=json.loads(text), headers={k.lower(): v for k, v in answer.getheaders()})


def raw(port, data, *, timeout_s=40):
    """All bytes that come back on a new connection until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        found = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                found += chunk
        return found


def secret(api, namespace, name, value):
    """A Secret with one key `token`, created or replaced."""
    data = {"token": base64.b64encode(value.encode()).decode()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
    path = f"/api/v1/namespaces/{namespace}/secrets"
    if any(each["metadata"]["name"] == name for each in api.items(path)):
        return api.put(f"{path}/{name}", body)
    return api.post(path, body)


def requested(api, namespace, name, source="app"):
    """How many deliveries were counted for a source."""
    status = api.trigger(namespace, name).get("status") or {}
    return ((status.get("checkedSources") or {}).get(source) or {}).get("requested", 0)


class Door:
    """Forwards connections to a port until it is shut; then it breaks them and refuses new ones."""

    def __init__(self, port):
        self._target = port
        self._open, self._pairs, self._threads = True, set(), []
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._pairs.add((client, server))
            for one, other in ((client, server), (server, client)):
                thread = threading.Thread(target=self._forward, args=(one, other), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            end.close()

    def shut(self):
        """Nobody gets through."""
        self._open = False
        for pair in list(self._pairs):
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def reopen(self):
        """New connections get through."""
        self._open = True

    def close(self):
        """For good."""
        self.shut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
