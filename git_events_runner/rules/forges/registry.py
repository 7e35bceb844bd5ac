"""Every forge. The order decides which one a delivery is from that several headers name: Gitea sends GitHub's too."""

from __future__ import annotations

from . import azure, bitbucket, gitea, github, gitlab
from .forge import Forge

FORGES: tuple[Forge, ...] = (gitea.FORGE, github.FORGE, gitlab.FORGE, bitbucket.FORGE, azure.FORGE)
BY_NAME = {forge.name: forge for forge in FORGES}
