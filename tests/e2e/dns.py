"""The cluster's DNS, as much as pods need: the addresses of Services (RFC 1035; Kubernetes' DNS specification)."""

import contextlib
import socket
import struct
import threading

_A = 1
_NO_SUCH_NAME = 3


class Dns:
    """Answers `NAME.NAMESPACE.svc[.cluster.local]` from the API server, in a thread."""

    def __init__(self, api, host):
        self._api = api
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                question, sender = self._socket.recvfrom(1024)
            except OSError:
                return
            with contextlib.suppress(Exception):
                self._socket.sendto(self._answer(question), sender)

    def _answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        asked = question[12 : at + 5]
        address = self._address(labels)
        wanted = struct.unpack(">H", question[at + 1 : at + 3])[0]
        answer = b""
        if address and wanted == _A:
            answer = struct.pack(">HHHIH", 0xC00C, _A, 1, 5, 4) + socket.inet_aton(address)
        code = 0 if address else _NO_SUCH_NAME
        return question[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, bool(answer), 0, 0) + asked + answer

    def _address(self, labels):
        if labels[2:] not in (["svc"], ["svc", "cluster", "local"]):
            return None
        with contextlib.suppress(Exception):
            return self._api.get(f"/api/v1/namespaces/{labels[1]}/services/{labels[0]}")["spec"]["clusterIP"]
        return None

    def close(self):
        """Stop answering."""
        self._socket.close()
