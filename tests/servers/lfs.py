"""An LFS server: the batch API and basic downloads of git-lfs, in front of a git server for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

TYPE = "application/vnd.git-lfs+json"
ATTRIBUTES = b"*.bin filter=lfs diff=lfs merge=lfs -text\n"
_STORE = "/lfs-store/"


def pointer(content: bytes, *, size: int | None = None) -> bytes:
    """What a commit has in place of a content."""
    oid = hashlib.sha256(content).hexdigest()
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
        oid.encode(),
        len(content) if size is None else size,
    )


class LfsStore:
    """Contents by their SHA-256, as `lfs` of a GitServer.

    `base` is where downloads are; `headers` what they need, which is checked when they come; `change` changes what the
    batch API answers; `served` replaces a content's bytes.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.contents: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.authenticated = False
        self.change: Callable[[dict[str, object]], None] = lambda _: None
        self.served: Callable[[bytes], bytes] = lambda content: content
        self.batches: list[tuple[str, dict[str, str], dict[str, object]]] = []
        self.downloads: list[dict[str, str]] = []

    def add(self, content: bytes) -> bytes:
        """Store a content; gives its pointer."""
        self.contents[hashlib.sha256(content).hexdigest()] = content
        return pointer(content)

    def __call__(self, method, path, headers, body):
        """The reply to a request; None: it is none of LFS."""
        if method == "POST" and path.endswith("/objects/batch"):
            asked = json.loads(body)
            self.batches.append((path, headers, asked))
            return 200, {"Content-Type": TYPE}, json.dumps(self._batch(asked)).encode()
        if method == "GET" and path.startswith(_STORE):
            self.downloads.append(headers)
            if any(headers.get(name) != value for name, value in self.headers.items()):
                return 403, {}, b"a header is missing"
            return 200, {"Content-Type": "application/octet-stream"}, self.served(self.contents[path[len(_STORE) :]])
        return None

    def _batch(self, asked):
        found = []
        for one in asked["objects"]:
            each = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] in self.contents:
                action = {"href": f"{self.base}{_STORE}{one['oid']}", "header": self.headers}
                each |= {"actions": {"download": action}, "authenticated": self.authenticated}
            else:
                each["error"] = {"code": 404, "message": "Object does not exist"}
            self.change(each)
            found.append(each)
        return {"transfer": "basic", "objects": found}
