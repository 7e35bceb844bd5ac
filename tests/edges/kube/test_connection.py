"""Tokens that change: a service account's file, a kubeconfig's token file, an exec plugin; and a CA that is rotated."""

import asyncio
import contextlib
import os
import ssl
import sys

import pytest
import yaml

from git_events_runner.edges.kube.client import Client
from git_events_runner.edges.kube.connection import _Token, connect, environment_proxy
from git_events_runner.errors import ApiUnauthorized, ApiUnavailable, ConfigError
from git_events_runner.local.apiserver.server import serving
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from tests.cluster.certificates import Authority
from tests.edges.kube.scripted import Reply, Server, job, status

REF = Ref("Job", "n", "a")


def kubeconfig(folder, server, user, **cluster):
    """Path of a kubeconfig with one user."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def tokens(server):
    return [asked.headers["authorization"] for asked in server.asked]


async def test_a_rotated_token_file_is_read_when_the_old_token_is_refused(tmp_path):
    """The first 401 is enough: no restart, no minute of waiting, and the request succeeds."""
    (tmp_path / "token").write_text("one\n")
    answers = Reply(body=job()), Reply(status=401, body=status(401)), Reply(body=job())
    async with Server(*answers) as server:
        path = kubeconfig(tmp_path, server.url, {"tokenFile": "token"})
        async with connect(path) as connection:
            client = Client(connection)
            await client.get(REF)
            (tmp_path / "token").write_text("two\n")
            assert (await client.get(REF))["metadata"]["name"] == "a"
    assert tokens(server) == ["Bearer one", "Bearer one", "Bearer two"]


async def test_watches_of_many_namespaces_leave_connections_for_requests(tmp_path):
    """Each watch holds a connection: with 30 namespaces there are more than a pool has that is made for requests."""
    async with serving() as server, contextlib.AsyncExitStack() as stack, asyncio.timeout(30):
        path = kubeconfig(tmp_path, server.url, {"token": server.token})
        client = Client(await stack.enter_async_context(connect(path)))
        for number in range(150):
            watch = client.watch(KINDS["Job"], namespace=f"n{number}", resource_version="0", timeout_s=60)
            await stack.enter_async_context(watch)
        assert (await client.list_page(KINDS["Job"])).items == []


async def test_an_emptied_token_file_leaves_the_old_token(tmp_path):
    """The kubelet replaces the file: a moment without text is no reason to stop."""
    (tmp_path / "token").write_text("one")
    async with (
        Server(Reply(status=401, body=status(401))) as server,
        connect(kubeconfig(tmp_path, server.url, {"tokenFile": "token"})) as connection,
    ):
        client = Client(connection)
        with pytest.raises(ApiUnauthorized):
            await client.get(REF)
        for text in ("", None):
            (tmp_path / "token").unlink() if text is None else (tmp_path / "token").write_text(text)
            with pytest.raises(ApiUnauthorized):
                await client.get(REF)
    assert set(tokens(server)) == {"Bearer one"}


async def test_a_token_is_asked_for_again_after_a_minute_and_once_for_all_who_were_refused():
    """By the loop's clock; ten requests refused at once cost one question."""
    asked = []

    async def ask(refused):
        await asyncio.sleep(0)
        asked.append(refused)
        return f"t{len(asked)}"

    token = _Token(ask)
    assert [await token.value(), await token.value()] == ["t1", "t1"]
    token._read_at -= 60.0
    assert await token.value() == "t2"
    await asyncio.gather(*(token.renew() for _ in range(10)))
    assert await token.value() == "t3"
    assert asked == [False, False, True]


async def test_a_service_account_is_used_in_the_cluster(tmp_path, monkeypatch):
    """Token and CA from the mounted folder; the token as it is now."""
    authority = Authority(tmp_path / "pki")
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text("one\n")
    (folder / "ca.crt").write_bytes(authority.path.read_bytes())
    certificate, key = authority.issue("kubernetes")
    async with tls_server(certificate, key, Reply(body=job())) as server:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.url.rpartition(":")[2])
        async with connect(account=folder) as connection:
            await Client(connection).get(REF)
    assert tokens(server) == ["Bearer one"]


async def test_a_rotated_ca_is_trusted_without_a_restart(tmp_path):
    """The first request after the rotation fails clearly, the next one goes."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    trusted = tmp_path / "ca.crt"
    trusted.write_bytes(old.path.read_bytes())
    certificate, key = new.issue("kubernetes")
    async with tls_server(certificate, key, Reply(body=job())) as server:
        path = kubeconfig(tmp_path, server.url, {"token": "x"}, **{"certificate-authority": str(trusted)})
        async with connect(path) as connection:
            client = Client(connection)
            with pytest.raises(ApiUnavailable, match="certificate"):
                await client.get(REF)
            since = client.trusted_at()
            with pytest.raises(ApiUnavailable, match="certificate"):
                await client.get(REF)
            assert client.trusted_at() == since < asyncio.get_running_loop().time()
            trusted.write_bytes(new.path.read_bytes())
            with contextlib.suppress(ApiUnavailable):
                await client.get(REF)
            assert (await client.get(REF))["metadata"]["name"] == "a"
            assert client.trusted_at() > since


@contextlib.asynccontextmanager
async def tls_server(certificate, key, *answers):
    """A scripted server behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with Server(*answers, tls=context) as server:
        yield server


async def test_an_exec_plugin_is_asked_again_when_its_token_is_refused(tmp_path):
    """Whatever expiry it gave; a plugin that fails leaves the old token."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "import json, pathlib\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "number = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(number))\n"
        "if number == 3: raise SystemExit('no')\n"
        "status = {'token': f't{number}', 'expirationTimestamp': '2999-01-01T00:00:00Z'}\n"
        "kind = {'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential'}\n"
        "print(json.dumps(kind | {'status': status}))\n"
    )
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(plugin)]}}
    refusal = Reply(status=401, body=status(401))
    async with (
        Server(Reply(body=job()), refusal, Reply(body=job()), refusal) as server,
        connect(kubeconfig(tmp_path, server.url, user)) as connection,
    ):
        client = Client(connection)
        await client.get(REF)
        await client.get(REF)
        with pytest.raises(ApiUnauthorized):
            await client.get(REF)
    assert tokens(server) == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2", "Bearer t2"]


async def test_what_cannot_be_used_is_said(tmp_path):
    """A kubeconfig that is none names itself and what to do."""
    (tmp_path / "k").write_text("{}")
    with pytest.raises(ConfigError, match="set KUBECONFIG"):
        async with connect(str(tmp_path / "k")):
            pass


async def test_the_library_is_loaded_without_its_models(tmp_path):
    """32 MiB and 1,200 modules less: a trick on import paths that a new version of the library may break."""
    code = "import asyncio,sys; from git_events_runner.edges.kube.connection import _load_library; _load_library();"
    code += "print(sum(name.startswith('kubernetes_asyncio.client.models.') for name in sys.modules))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]}
    )
    out, _ = await process.communicate()
    assert int(out) == 0


def test_the_proxy_variables_are_read_once(monkeypatch):
    """HTTPS_PROXY holds for the API server unless NO_PROXY names it."""
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "10.96.0.1,.svc")
    assert environment_proxy("https://api.example.com:6443") == "http://proxy:3128"
    assert environment_proxy("https://10.96.0.1:443") is None
    assert environment_proxy("https://kubernetes.default.svc") is None
