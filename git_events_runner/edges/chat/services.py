"""The chat systems and alerting services that messages are sent to: those of apprise's plugins that speak only HTTP.

A plugin is imported when an address names it. Others are never imported: they open sockets, files or programs.
Templates are the one thing by which a plugin of this list reads a file, so an address may name none.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from git_events_runner.errors import SecretUnusable

if TYPE_CHECKING:
    from apprise.plugins.base import NotifyBase

APP = "git-events-runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service: its name for users, the beginnings of its addresses, where its plugin is."""

    name: str
    schemes: tuple[str, ...]
    module: str
    plugin: str


def _service(name: str, schemes: str, module: str, plugin: str) -> Service:
    return Service(name=name, schemes=tuple(schemes.split()), module=f"apprise.plugins.{module}", plugin=plugin)


SERVICES = (
    _service("Slack", "slack", "slack", "NotifySlack"),
    _service("Microsoft Teams (Workflows)", "workflow workflows", "workflows", "NotifyWorkflows"),
    _service("Discord", "discord", "discord", "NotifyDiscord"),
    _service("Matrix", "matrix matrixs", "matrix", "NotifyMatrix"),
    _service("Mattermost", "mmost mmosts", "mattermost", "NotifyMattermost"),
    _service("Rocket.Chat", "rocket rockets", "rocketchat", "NotifyRocketChat"),
    _service("Google Chat", "gchat", "google_chat", "NotifyGoogleChat"),
    _service("Telegram", "tgram", "telegram", "NotifyTelegram"),
    _service("Webex", "wxteams webex", "webexteams", "NotifyWebexTeams"),
    _service("Zulip", "zulip", "zulip", "NotifyZulip"),
    _service("Nextcloud Talk", "nctalk nctalks", "nextcloudtalk", "NotifyNextcloudTalk"),
    _service("Signal (signal-cli-rest-api)", "signal signals", "signal_api", "NotifySignalAPI"),
    _service("Lark", "lark", "lark", "NotifyLark"),
    _service("Feishu", "feishu", "feishu", "NotifyFeishu"),
    _service("DingTalk", "dingtalk", "dingtalk", "NotifyDingTalk"),
    _service("WeCom", "wecombot", "wecombot", "NotifyWeComBot"),
    _service("ntfy", "ntfy ntfys", "ntfy", "NotifyNtfy"),
    _service("Gotify", "gotify gotifys", "gotify", "NotifyGotify"),
    _service("Pushover", "pover", "pushover", "NotifyPushover"),
    _service("PagerDuty", "pagerduty", "pagerduty", "NotifyPagerDuty"),
    _service("Opsgenie", "opsgenie", "opsgenie", "NotifyOpsgenie"),
    _service("Splunk On-Call", "splunk victorops", "splunk", "NotifySplunk"),
    _service("PagerTree", "pagertree", "pagertree", "NotifyPagerTree"),
    _service("incident.io", "incidentio", "incidentio", "NotifyIncidentIO"),
    _service("Squadcast", "squadcast", "squadcast", "NotifySquadcast"),
    _service("Mail by Mailgun", "mailgun", "mailgun", "NotifyMailgun"),
    _service("Mail by SendGrid", "sendgrid", "sendgrid", "NotifySendGrid"),
    _service("Mail by Postmark", "postmark", "postmark", "NotifyPostmark"),
    _service("Mail by Brevo", "brevo", "brevo", "NotifyBrevo"),
)
_BY_SCHEME = {scheme: service for service in SERVICES for scheme in service.schemes}
SCHEMES = frozenset(_BY_SCHEME)
# Parameters of an address that the Notifier decides, or that would read a file.
REFUSED_PARAMETERS = {
    "template": "templates are files of the controller, and none is read",
    "attach": "nothing is attached",
    "verify": "use tlsConfig.noVerifySsl of the Notifier",
    "redirect": "redirects are not followed",
    "format": "messages are plain text",
    "overflow": "messages are short",
    "emojis": "messages are plain text",
    "rto": "a request has 40 s",
    "cto": "a request has 40 s",
    "retry": "the controller sends messages again",
    "wait": "the controller sends messages again",
    "store": "nothing is stored",
    "e2ee": "messages are not encrypted for devices, because keys would have to be stored",
}


def plugin_for(address: str) -> NotifyBase:
    """The plugin for an address of a known scheme.

    Raises:
        SecretUnusable: The plugin cannot read the address, or a parameter in it is refused.
    """
    from apprise import AppriseAsset
    from apprise.common import NotifyFormat

    service = _BY_SCHEME[address.partition("://")[0].lower()]
    plugin = getattr(import_module(service.module), service.plugin)
    asset = AppriseAsset(
        app_id=APP,
        app_desc=APP,
        app_url="",
        http_redirects=False,
        image_url_mask="",
        image_url_logo="",
        image_path_mask="",
        plugin_paths=[],
        storage_path=None,
    )
    found: dict[str, Any] | None = plugin.parse_url(address)
    if found is None:
        raise _unreadable(service, "it is not complete")
    for name in found.get("qsd") or {}:
        bare = name.lstrip("+-: ").lower()
        if bare in REFUSED_PARAMETERS:
            raise _unreadable(service, f"leave out the parameter {bare}: {REFUSED_PARAMETERS[bare]}")
    formats = plugin.notify_format
    if NotifyFormat.TEXT in (formats if isinstance(formats, tuple) else (formats,)):
        found["format"] = NotifyFormat.TEXT.value
    try:
        created: NotifyBase = plugin(
            **{**found, "asset": asset, "overflow": "truncate", "include_image": False, "tag": set()}
        )
    except TypeError:  # how plugins report what they cannot use; the message may contain a credential
        raise _unreadable(service, "a part of it is not valid") from None
    return created


def _unreadable(service: Service, problem: str) -> SecretUnusable:
    form = " or ".join(f"{scheme}://…" for scheme in service.schemes)
    message = f"the address for {service.name} ({form}) cannot be used: {problem}; see docs/chat.md"
    return SecretUnusable(message, reason="SecretInvalid")
