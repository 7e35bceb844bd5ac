"""Helm as users have it, built from the module that the worker image pins."""

import hashlib
import json

from tests.e2e import machine
from tests.e2e.images import ROOT, cache

CHART = ROOT / "helm" / "git-events-runner"
_TOOLS = ROOT / "images" / "tools"


def tools():
    """Folder with helm and kubectl, built once for each version (some minutes)."""
    digest = hashlib.sha256(b"".join((_TOOLS / name).read_bytes() for name in ("go.sum", "build.sh"))).hexdigest()[:16]
    folder = cache().parent / f"tools-{digest}"
    if not (folder / "kubectl").exists():
        machine.run(["sh", "build.sh", str(folder)], cwd=_TOOLS, env={"CGO_ENABLED": "0"}, timeout_s=1500)
    return folder


class Helm:
    """Runs helm against one cluster."""

    def __init__(self, program, kubeconfig, folder):
        self._program, self._folder = program, folder
        self._env = {"KUBECONFIG": str(kubeconfig)} | {
            f"HELM_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")
        }

    def __call__(self, *arguments, check=True):
        """Output of one command."""
        done = machine.run([str(self._program), *arguments], env=self._env, check=check, timeout_s=300)
        return done.stdout if check else done

    def values(self, values):
        """Options for a file of values."""
        path = self._folder / f"values-{len(list(self._folder.glob('values-*')))}.json"
        path.write_text(json.dumps(values))
        return ("--values", str(path))
