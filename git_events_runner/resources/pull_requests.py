"""Pull and merge requests: which of a repository's a WebhookTrigger watches, each by itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from .part import PART, Part
from .windows import Length

FORGES = ("github", "gitlab", "gitea", "bitbucket", "azure")
MERGING = ("github", "azure")

NEEDS_WEBHOOKS = (
    "references.pullRequests needs a WebhookTrigger with authConfig.type github, gitlab, gitea, bitbucket or azure: "
    "only a forge's deliveries report pull requests"
)
NEEDS_MERGES = (
    "pullRequests.checkout: Merge needs authConfig.type github or azure: other forges show no merge commit; use Head"
)
NEVER_POLLED = (
    "a schedule needs references.branches or references.tags: pull requests are never polled, deliveries report them"
)
_WATCHED = "self.sources.watchOn.references"
_NONE = f"!has(self.sources.watchOn) || !has({_WATCHED}) || !has({_WATCHED}.pullRequests)"
_TYPE = "(has(self.webhook.authConfig) ? self.webhook.authConfig.type : 'none')"
_OF_A_FORGE = f"{_TYPE} in [{', '.join(map(repr, FORGES))}]"
_SHOWS_MERGES = f"{_WATCHED}.pullRequests.checkout != 'Merge' || {_TYPE} in [{', '.join(map(repr, MERGING))}]"
_IS_LISTED = f"!has(self.schedule) || has({_WATCHED}.branches) || has({_WATCHED}.tags)"
ONLY_WEBHOOKS = (_NONE, NEEDS_WEBHOOKS)
WEBHOOK_RULES = (
    (f"{_NONE} || {_OF_A_FORGE}", NEEDS_WEBHOOKS),
    (f"{_NONE} || {_SHOWS_MERGES}", NEEDS_MERGES),
    (f"{_NONE} || {_IS_LISTED}", NEVER_POLLED),
)


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class PullRequests(Part):
    """Which pull requests are watched, and what is cloned of them."""

    origin: Literal["SameRepository", "Any"] = Field(
        default="SameRepository",
        alias="from",
        description="`SameRepository`: those whose branch is in the repository itself, which only people with write "
        "access can push. `Any`: those of forks, too, with code of strangers; refused unless the actions name no "
        "service account, no Secret and no envFrom, or the runtime config's `policy.forkPullRequests` allows it.",
    )
    checkout: Literal["Head", "Merge"] = Field(
        default="Head",
        description="`Head`: the newest commit of the pull request. `Merge`: the commit that merges it into its "
        "target, for the types github and azure; nothing runs while it has conflicts.",
    )
    close_after: Length | None = Field(
        default=None,
        description="A pull request of which no opening, push or reopening was delivered for this time, such as `30d`, "
        "counts as closed, in case that the delivery of its closing was lost; the next delivery opens it again. Unset: "
        "never.",
    )
