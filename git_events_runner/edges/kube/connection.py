"""How to reach the API server: kubernetes_asyncio's configuration and transport, without its models.

Importing that library whole loads 1,261 modules (32 MiB); stub packages load only configuration and transport. It is a
trick on import paths, so the version is pinned and a test holds it.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from git_events_runner.errors import ConfigError

_CONNECT_S = 10.0


class Authorization(Protocol):
    """Gives the Authorization header of now."""

    async def __call__(self) -> str | None:
        """The header's value; None sends none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An open session to one API server: base URL, session, proxy, and who gives the Authorization header."""

    url: str
    session: aiohttp.ClientSession
    authorization: Authorization
    proxy: str | None = None


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


@asynccontextmanager
async def connect(kubeconfig: str | None = None) -> AsyncIterator[Connection]:
    """Connect in the cluster (token re-read as it rotates), or by a kubeconfig (also with an exec plugin).

    Args:
        kubeconfig: Path of a kubeconfig; None: in the cluster if there is a service account, else the default one.

    Raises:
        ConfigError: Neither can be used; the message says why.
    """
    library, config, rest = _load_library()
    configuration = library.Configuration()
    configuration.connection_pool_maxsize = 64
    try:
        await _configure(config, configuration, kubeconfig)
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError) as error:
        where = f"the kubeconfig {kubeconfig}" if kubeconfig else "the cluster's configuration"
        raise ConfigError(f"cannot use {where}: {error}; set KUBECONFIG or run in a pod") from error
    transport = rest.RESTClientObject(configuration)

    async def authorization() -> str | None:
        try:
            value: str | None = await configuration.get_api_key_with_prefix("BearerToken")
        except config.ConfigException as error:  # the token file is just being replaced
            raise aiohttp.ClientError(f"no token to send: {error}") from error
        if not value:
            return configuration.get_basic_auth_token() if configuration.username else None
        return value.strip()

    try:
        yield Connection(
            url=configuration.host.rstrip("/"),
            session=transport.pool_manager,
            authorization=authorization,
            proxy=configuration.proxy,
        )
    finally:
        await transport.close()


async def _configure(config: Any, configuration: Any, kubeconfig: str | None) -> None:
    if kubeconfig is None:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            kubeconfig = config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION
        else:
            return
    loader = await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    user = getattr(loader, "_user", None)
    if user is None or "exec" not in user:
        return
    lock = asyncio.Lock()
    asked = 0.0

    async def renew(target: Any) -> None:
        """Ask the plugin again once a minute: it caches, and knows when its token ends."""
        nonlocal asked
        async with lock:
            now = asyncio.get_running_loop().time()
            if now - asked < 60:  # noqa: PLR2004  a minute
                return
            asked = now
            await loader.load_from_exec_plugin()
            target.api_key["BearerToken"] = loader.token

    configuration.refresh_api_key_hook = renew


@asynccontextmanager
async def connect_to(url: str, token: str) -> AsyncIterator[Connection]:
    """Connect to an API server by URL and token: the in-process one of `local`."""

    async def authorization() -> str | None:
        return f"Bearer {token}"

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT_S)) as session:
        yield Connection(url=url.rstrip("/"), session=session, authorization=authorization)
