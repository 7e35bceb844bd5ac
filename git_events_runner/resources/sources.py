"""GitRepo and ClusterGitRepo: where a repository is, and which Secrets open it."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from .allowed_namespaces import AllowedNamespaces
from .meta import Resource
from .part import PART, Flag, Name, Part, Text
from .proxy import PROXY_URL, PROXY_URL_CHARS, problem_of
from .status import RepositoryStatus

_PLAIN = "A-Za-z0-9_.-"
# The forms of v0.4: scp form, ssh://, http(s)://; no user information in http URLs. `\w` means ASCII there.
REPO_URI = (
    rf"^git@[{_PLAIN}]+:[{_PLAIN}]+/[/{_PLAIN}]+$"
    rf"|^ssh://([{_PLAIN}]+@)?[{_PLAIN}]+(:[0-9]{{1,5}})?(/([/{_PLAIN}]+)?)?$"
    rf"|^https?://[{_PLAIN}]+(:[0-9]{{1,5}})?(/([/%&=?{_PLAIN}]+)?)?$"
)
REPO_URI_CHARS = 2048
KEY_CHARS = 253
SecretKey = Annotated[Text, Field(max_length=KEY_CHARS)]


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class SecretRef(Part):
    """A Secret."""

    name: Name = Field(description="Name of the Secret.")
    namespace: Name | None = Field(
        default=None,
        description="Namespace of the Secret, for a ClusterGitRepo; unset: the trigger's namespace. A GitRepo's "
        "Secrets are always in its own namespace, and this field is ignored with a warning Event.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class CaCert(Part):
    """Where the certificates of a private CA are."""

    secret_ref: SecretRef = Field(description="The Secret with the certificates.")
    key: SecretKey = Field(default="ca.crt", description="Key in the Secret with the certificates, in PEM form.")


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class TlsConfig(Part):
    """How the server's certificate is verified."""

    no_verify_ssl: Flag = Field(default=False, description="true: accept any certificate of the server.")
    ca_cert: CaCert | None = Field(
        default=None, description="Certificates of a private CA, trusted instead of the system's, for https."
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class SecretKeys(Part):
    """Under which keys a Secret holds what."""

    username: SecretKey = Field(default="username", description="Key of the user name, for `basic`.")
    password: SecretKey = Field(default="password", description="Key of the password, for `basic`.")
    token: SecretKey = Field(default="token", description="Key of the value of the Authorization header, for `token`.")
    private_key: SecretKey = Field(default="ssh-privatekey", description="Key of the private key, for `ssh`.")


_KEYS = SecretKeys()


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class AuthConfig(Part):
    """How to authenticate."""

    type: Literal["basic", "token", "ssh"] = Field(
        description="`basic`: HTTP Basic. `token`: the Secret's value is sent verbatim as the Authorization header, "
        "with its "
        "scheme (`Bearer …`, `Basic …`). `ssh`: a private key; the login comes from the URI, else it is `git`, and the "
        "Secret may also hold `passphrase` (of an encrypted key) and `known_hosts` (the host keys to accept, instead "
        "of the first one seen)."
    )
    secret_ref: SecretRef = Field(description="The Secret with the credential.")
    keys: SecretKeys = Field(
        default=_KEYS,
        description="Names of the Secret's keys; a name that is left out has its default.",
        json_schema_extra={
            "default": {
                "username": "username",
                "password": "password",
                "token": "token",
                "privateKey": "ssh-privatekey",
            }
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class Proxy(Part):
    """A proxy on the way to the server."""

    url: Annotated[Text, Field(pattern=PROXY_URL, max_length=PROXY_URL_CHARS)] = Field(
        description="`http://host:port`, `socks5://host:port` or `socks5h://host:port`; in each case the proxy "
        "resolves the server's name."
    )
    secret_ref: SecretRef | None = Field(
        default=None,
        description="The Secret with the proxy's login, under the keys `username` and `password`; unset: no login.",
    )


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class GitRepoSpec(Part):
    """A git repository."""

    repo_uri: Annotated[Text, Field(pattern=REPO_URI, max_length=REPO_URI_CHARS)] = Field(
        description="URL of the repository: `git@host:owner/path`, `ssh://[user@]host[:port]/path` or "
        "`http(s)://host[:port]/path`."
    )
    tls_config: TlsConfig | None = Field(
        default=None, description="How the server's certificate is verified, for https; unset: by the system's CAs."
    )
    auth_config: AuthConfig | None = Field(
        default=None, description="How the client authenticates at the server; unset: it does not."
    )
    proxy: Proxy | None = Field(
        default=None,
        description="The proxy to reach the server through, for http and https; unset: the one of the controller's "
        "environment (`HTTPS_PROXY` and the like), if any.",
    )

    @field_validator("proxy")
    @classmethod
    def _usable(cls, value: Proxy | None, info: ValidationInfo) -> Proxy | None:
        if value is not None and "repo_uri" in info.data:
            problem = problem_of(value.url, info.data["repo_uri"])
            if problem is not None:
                raise ValueError(problem)
        return value

    @property
    def ignored_namespaces(self) -> tuple[str, ...]:
        """Dotted paths of Secret references with a namespace, which a GitRepo ignores."""
        refs = {
            "spec.authConfig.secretRef.namespace": self.auth_config and self.auth_config.secret_ref.namespace,
            "spec.tlsConfig.caCert.secretRef.namespace": self.tls_config
            and self.tls_config.ca_cert
            and self.tls_config.ca_cert.secret_ref.namespace,
            "spec.proxy.secretRef.namespace": self.proxy and self.proxy.secret_ref and self.proxy.secret_ref.namespace,
        }
        return tuple(path for path, namespace in refs.items() if namespace)


@dataclass(frozen=True, slots=True, kw_only=True, config=PART)
class ClusterGitRepoSpec(GitRepoSpec):
    """A git repository, and who may use it."""

    allowed_namespaces: AllowedNamespaces | None = Field(
        default=None,
        description="Namespaces whose triggers may use this repository; unset: those of the runtime config, "
        "which is every one by default.",
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GitRepo(Resource):
    """A repository for the triggers of its own namespace."""

    spec: GitRepoSpec

    @property
    def status(self) -> RepositoryStatus:
        """Its last recorded state; strange values read as absent."""
        return RepositoryStatus.of(self.raw_status)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClusterGitRepo(GitRepo):
    """A repository for the triggers of every namespace, or of those that it allows."""

    spec: ClusterGitRepoSpec
