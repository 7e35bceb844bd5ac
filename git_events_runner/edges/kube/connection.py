"""How to reach the API server: kubernetes_asyncio's configuration and transport, without its models.

A complete import of that library loads 1,261 modules (32 MiB); stub packages load only configuration and transport. It
is a trick on import paths, so the version is pinned and a test holds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import ssl
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yaml

from git_events_runner.errors import ConfigError

_CONNECT_S = 10.0
_READ_BYTES = 2 * 2**20  # as the library: large objects in a watch


_TOKEN_S = 60.0
# What the library raises for a kubeconfig of another form, in addition to its own error.
_UNUSABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError)
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Authorization(Protocol):
    """Gives the Authorization header of now."""

    async def __call__(self) -> str | None:
        """The header's value; None sends none."""


async def _nothing_to_renew() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An open session to one API server: base URL, session, proxy, and who gives the Authorization header.

    `renew` reads token and CA again, independent of their age; it returns whether they can change.
    `namespace` is that of the kubeconfig's context, or of the pod.
    """

    url: str
    session: aiohttp.ClientSession
    authorization: Authorization
    renew: Callable[[], Awaitable[bool]] = _nothing_to_renew
    proxy: str | None = None
    namespace: str | None = None


_ReadToken = Callable[[bool], Awaitable[str | None]]


class _Token:
    """A token that changes: requested again after a minute, and when it was refused; one request at a time.

    A request that fails keeps the old token, which may still be good.
    """

    def __init__(self, read_token: _ReadToken) -> None:
        """`read_token` gets whether the last token was refused, and returns None when there is no new one."""
        self._read_token = read_token
        self._lock = asyncio.Lock()
        self._value: str | None = None
        self._read_at = float("-inf")
        self._reads = 0

    async def value(self) -> str | None:
        """The header's value."""
        async with self._lock:
            if asyncio.get_running_loop().time() - self._read_at >= _TOKEN_S:
                await self._renew(refused=False)
            return self._value

    async def renew(self) -> None:
        """Request a token now; callers that were refused together share one request."""
        reads = self._reads
        async with self._lock:
            if self._reads == reads:
                await self._renew(refused=True)

    async def _renew(self, *, refused: bool) -> None:
        self._read_at = asyncio.get_running_loop().time()
        try:
            self._value = await self._read_token(refused) or self._value
        except (OSError, ValueError):
            if self._value is None:
                raise
        self._reads += 1


def _file_token(path: Path) -> _ReadToken:
    async def read_token(_refused: bool) -> str | None:  # noqa: FBT001  a callback of one fact
        text = path.read_text(encoding="utf-8").strip()  # noqa: ASYNC240  a kilobyte; an empty one is being replaced
        return f"Bearer {text}" if text else None

    return read_token


def _stub(name: str, path: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__path__ = [path]
    module.__package__ = name
    spec = importlib.util.spec_from_loader(name, None, is_package=True)
    if spec is not None:
        spec.submodule_search_locations = [path]
    module.__spec__ = spec
    sys.modules[name] = module
    return module


def _load_library() -> tuple[Any, Any, Any]:
    """kubernetes_asyncio's client (Configuration), config and rest modules, without the models."""
    if "kubernetes_asyncio" not in sys.modules:
        found = importlib.util.find_spec("kubernetes_asyncio")
        if found is None or not found.submodule_search_locations:
            raise ConfigError("the package kubernetes_asyncio is not installed")
        root = found.submodule_search_locations[0]
        top = _stub("kubernetes_asyncio", root)
        client = _stub("kubernetes_asyncio.client", f"{root}/client")
        vars(top)["client"] = client
        for name in ("api", "models"):
            vars(client)[name] = _stub(f"kubernetes_asyncio.client.{name}", f"{root}/client/{name}")
        configuration = importlib.import_module("kubernetes_asyncio.client.configuration")
        vars(client)["Configuration"] = configuration.Configuration
        exceptions = importlib.import_module("kubernetes_asyncio.client.exceptions")
        for name in ("OpenApiException", "ApiTypeError", "ApiValueError", "ApiKeyError", "ApiException"):
            vars(client)[name] = getattr(exceptions, name)
        api_client = importlib.import_module("kubernetes_asyncio.client.api_client")
        vars(client)["ApiClient"] = api_client.ApiClient
    return (
        importlib.import_module("kubernetes_asyncio.client"),
        importlib.import_module("kubernetes_asyncio.config"),
        importlib.import_module("kubernetes_asyncio.client.rest"),
    )


def environment_proxy(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for the API server."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


@asynccontextmanager
async def connect(
    kubeconfig: str | None = None, *, context: str | None = None, account: Path = _ACCOUNT
) -> AsyncIterator[Connection]:
    """Connect in the cluster (token re-read as it rotates), or by a kubeconfig (also with a token file or exec plugin).

    Args:
        kubeconfig: Path of a kubeconfig; None: in the cluster if there is a service account, else the default one.
        context: Context of the kubeconfig; None: its current one.
        account: Folder of the service account's token and CA.

    Raises:
        ConfigError: Neither can be used; the message has the reason.
    """
    library, config, rest = _load_library()
    configuration = library.Configuration()
    configuration.connection_pool_maxsize = 0  # a watch holds a connection; requests are bounded by their turns
    try:
        token, namespace = await _configure(config, configuration, kubeconfig, context, account)
        transport = rest.RESTClientObject(configuration)
    except (*_UNUSABLE, config.ConfigException) as error:
        place = kubeconfig or f"the kubeconfig {config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION}"
        reason = " ".join(str(error).split())
        if not isinstance(error, OSError | config.ConfigException):
            reason = f"it is no kubeconfig ({reason})"
        raise ConfigError(f"cannot use {place}: {reason}; set KUBECONFIG or run in a pod") from error
    # The library's session looks into netrc and the proxy variables in a thread, twice for every request.
    session = aiohttp.ClientSession(
        connector=transport.pool_manager.connector, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=_READ_BYTES
    )
    transport.pool_manager.detach()
    url = configuration.host.rstrip("/")

    async def authorization() -> str | None:
        try:
            value = await token.value()
        except (OSError, ValueError) as error:
            raise aiohttp.ClientError(f"no token to send: {error}") from error
        return value or (configuration.get_basic_auth_token() if configuration.username else None)

    async def renew() -> bool:
        await token.renew()
        trusted = getattr(session.connector, "_ssl", None)  # the library builds it, and gives no other way to it
        if configuration.ssl_ca_cert and isinstance(trusted, ssl.SSLContext):
            with contextlib.suppress(OSError):
                trusted.load_verify_locations(cafile=configuration.ssl_ca_cert)
        return True

    try:
        yield Connection(
            url=url,
            session=session,
            authorization=authorization,
            renew=renew,
            proxy=configuration.proxy or environment_proxy(url),
            namespace=namespace,
        )
    finally:
        await session.close()


def _check_there(paths: str) -> None:
    """Refuse to start if none of the files exists: then no file names the cluster.

    Raises:
        ConfigError: None is.
    """
    wanted = [Path(path).expanduser() for path in paths.split(os.pathsep) if path]
    if not any(path.exists() for path in wanted):
        reason = " and ".join(map(str, wanted)) or "KUBECONFIG is empty"
        raise ConfigError(
            f"no cluster to work with: this is no pod, and there is no kubeconfig ({reason}); set KUBECONFIG, or try "
            "`git-events-runner local`, which needs no cluster"
        )


async def _configure(
    config: Any, configuration: Any, kubeconfig: str | None, context: str | None, account: Path
) -> tuple[_Token, str | None]:
    """Fill the library's configuration; token (the library reads it too rarely) and namespace are returned."""
    if kubeconfig is None:
        files = {"token_filename": str(account / "token"), "cert_filename": str(account / "ca.crt")}
        try:
            config.load_incluster_config(client_configuration=configuration, try_refresh_token=False, **files)
        except config.ConfigException:
            kubeconfig = config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION
        else:
            return _Token(_file_token(account / "token")), _namespace_in(account)
    _check_there(kubeconfig)
    loader = await config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
    token = _token_of(config, configuration, loader, kubeconfig)
    return token, (getattr(loader, "current_context", None) or {}).get("context", {}).get("namespace")


def _namespace_in(account: Path) -> str | None:
    """The namespace of the pod, if its service account's folder has it."""
    try:
        return (account / "namespace").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _token_of(config: Any, configuration: Any, loader: Any, kubeconfig: str) -> _Token:
    """Where the user of a kubeconfig gets tokens from."""
    user = getattr(loader, "_user", None)
    if user is not None and "exec" in user:

        async def run_plugin(refused: bool) -> str | None:  # noqa: FBT001  a callback of one fact
            try:
                if refused:  # independent of its expiry
                    loader.exec_plugin_expiry = datetime.fromtimestamp(0, tz=UTC)
                await loader.load_from_exec_plugin()
            except config.ConfigException as error:
                raise ValueError(f"the exec plugin gives no token: {error}") from error
            token: str | None = getattr(loader, "token", None)
            return token

        return _Token(run_plugin)
    if user is not None and "tokenFile" in user:
        return _Token(_file_token(Path(kubeconfig).parent / str(user["tokenFile"])))

    async def fixed(_refused: bool) -> str | None:  # noqa: FBT001  a callback of one fact
        value: str | None = configuration.api_key.get("BearerToken")
        return value.strip() if value else None

    return _Token(fixed)


@asynccontextmanager
async def connect_to(url: str, token: str, *, socket: Path | None = None) -> AsyncIterator[Connection]:
    """Connect to an API server by URL and token, or by a Unix socket: the in-process one of `local`."""

    async def authorization() -> str | None:
        return f"Bearer {token}"

    timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT_S)
    connector = aiohttp.UnixConnector(str(socket)) if socket is not None else None
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Connection(url=url.rstrip("/"), session=session, authorization=authorization)
