"""Every forge. For a delivery with headers of several forges the order decides: Gitea sends GitHub's too."""

from __future__ import annotations

from . import azure, bitbucket, gitea, github, gitlab
from .forge import Forge

FORGES: tuple[Forge, ...] = (gitea.FORGE, github.FORGE, gitlab.FORGE, bitbucket.FORGE, azure.FORGE)
BY_NAME = {forge.name: forge for forge in FORGES}
