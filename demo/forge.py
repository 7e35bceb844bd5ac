"""What a forge does in the demo: it reports a pull request to a webhook, signed as by GitHub."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.request
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_MANIFESTS = Path(__file__).parent / "pull-requests.yaml"
_OBJECT = """\
---
apiVersion: v1
kind: Secret
metadata:
  name: forge
stringData:
  token: "{secret}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """The forge of the repository at `repository`; its webhooks have one secret."""

    repository: str
    secret: str

    def manifests(self, folder: Path) -> Path:
        """A copy of the trigger of pull requests and its Actions in a folder, with the Secret; its path."""
        copy = folder / _MANIFESTS.name
        copy.write_text(_MANIFESTS.read_text(encoding="utf-8") + _OBJECT.format(secret=self.secret), encoding="utf-8")
        return copy

    def deliver(self, url: str, *, action: str, number: int, commit: str) -> None:
        """Report that a pull request of the same repository was `opened` or `closed`.

        Raises:
            OSError: The webhook was not accepted.
        """
        repository = {"id": 1, "full_name": "demo/site", "clone_url": self.repository}
        pull_request = {
            "updated_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "head": {"ref": "idea", "sha": commit, "repo": repository},
            "base": {"ref": "main", "repo": repository},
        }
        payload = {"action": action, "number": number, "pull_request": pull_request, "repository": repository}
        body = json.dumps(payload).encode()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "pull_request",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest(),
        }
        request = urllib.request.Request(url, body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=20) as response:
            response.read()
