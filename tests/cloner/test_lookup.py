"""The cloner without a description: source and Secrets come from the API server."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from git_events_runner.cloner.lookup import ApiAccess, in_cluster, looked_up_repository
from git_events_runner.edges.git.access import ProxyAccess, SshAccess
from git_events_runner.edges.git.request import Credential, Repository
from git_events_runner.errors import ConfigError, GitUnreachable, SecretUnusable
from tests.edges.git.gitserver import Certificates

OURS = "/apis/git-events-runner.rs/v1alpha1"


def secret(**values):
    return {"data": {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in values.items()}}


@pytest.fixture
def api(tmp_path):
    """Objects by path; served over HTTPS to those who show the token."""
    objects: dict[str, object] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = objects.get(self.path, 404)
            if self.headers.get("Authorization") != "Bearer pod-token":
                found = 401
            self.send_response(found if isinstance(found, int) else 200)
            self.end_headers()
            self.wfile.write(json.dumps({} if isinstance(found, int) else found).encode())

        def log_message(self, *arguments):
            pass

    certificates = Certificates(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = certificates.server_context().wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    account = tmp_path / "account"
    account.mkdir()
    for name, value in {"token": "pod-token\n", "ca.crt": certificates.ca_pem, "namespace": "team"}.items():
        (account / name).write_text(value)
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.server_port)}
    yield objects, in_cluster(environment, account)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_source_with_everything(api):
    """URL, credential under the named keys, CA and TLS setting are those of the objects in the own namespace."""
    objects, access = api
    objects[f"{OURS}/namespaces/team/gitrepos/app"] = {
        "spec": {
            "repoUri": "https://git/x",
            "authConfig": {
                "type": "basic",
                "secretRef": {"name": "s", "namespace": "ignored"},
                "keys": {"username": "u"},
            },
            "tlsConfig": {"noVerifySsl": True, "caCert": {"secretRef": {"name": "c"}}},
        }
    }
    objects["/api/v1/namespaces/team/secrets/s"] = secret(u="me", password="word")
    objects["/api/v1/namespaces/team/secrets/c"] = secret(ca_crt="PEM")
    want = Repository(url="https://git/x", credential=Credential.basic("me", "word"), ca_pem="PEM", verify=False)
    assert looked_up_repository(access, "GitRepo", "app") == want


@pytest.mark.parametrize(("namespace", "place"), [("elsewhere", "elsewhere"), (None, "team")])
def test_a_cluster_source(api, namespace, place):
    """A ClusterGitRepo's Secret is in its named namespace, else in the pod's."""
    objects, access = api
    reference = {"name": "s"} | ({"namespace": namespace} if namespace else {})
    spec = {"repoUri": "https://git/x", "authConfig": {"type": "token", "secretRef": reference}}
    objects[f"{OURS}/clustergitrepos/app"] = {"spec": spec}
    objects[f"/api/v1/namespaces/{place}/secrets/s"] = secret(token="Bearer x")
    assert looked_up_repository(access, "ClusterGitRepo", "app").credential == Credential.token("Bearer x")


def test_a_source_with_a_proxy(api):
    """Its URL is the spec's, user name and password those of its Secret; what is no proxy is named."""
    objects, access = api
    spec = {"repoUri": "https://git/x", "proxy": {"url": "http://proxy:3128", "secretRef": {"name": "w"}}}
    objects[f"{OURS}/namespaces/team/gitrepos/app"] = {"spec": spec}
    objects["/api/v1/namespaces/team/secrets/w"] = secret(username="me", password="word")
    want = ProxyAccess(url="http://proxy:3128", username="me", password="word")
    assert looked_up_repository(access, "GitRepo", "app").proxy == want
    objects["/api/v1/namespaces/team/secrets/w"] = secret(username="me")
    with pytest.raises(SecretUnusable, match="password"):
        looked_up_repository(access, "GitRepo", "app")
    spec["proxy"] = "http://proxy:3128"
    with pytest.raises(ConfigError, match=r"GitRepo app: spec\.proxy has no url"):
        looked_up_repository(access, "GitRepo", "app")


def test_a_source_over_ssh(api):
    """Key, passphrase and known hosts are the Secret's; without known hosts there, the keys pinned in the status."""
    objects, access = api
    source = {
        "spec": {"repoUri": "git@git:x/y", "authConfig": {"type": "ssh", "secretRef": {"name": "s"}}},
        "status": {"hostKeys": ["git ssh-ed25519 AAAA", 7]},
    }
    objects[f"{OURS}/namespaces/team/gitrepos/app"] = source
    objects["/api/v1/namespaces/team/secrets/s"] = {"data": {"ssh-privatekey": base64.b64encode(b"KEY").decode()}}
    want = SshAccess(private_key="KEY", known_hosts="git ssh-ed25519 AAAA")
    assert looked_up_repository(access, "GitRepo", "app").ssh == want
    line = "git ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    for name, value in {"passphrase": "word\n", "known_hosts": line + "\n"}.items():
        objects["/api/v1/namespaces/team/secrets/s"]["data"][name] = base64.b64encode(value.encode()).decode()
    want = SshAccess(private_key="KEY", passphrase="word", known_hosts=line)
    assert looked_up_repository(access, "GitRepo", "app").ssh == want


def test_what_is_missing_is_named(api):
    """Missing objects, keys and rights raise the exception of their exit code and name the object."""
    objects, access = api
    with pytest.raises(ConfigError, match="GitRepo app does not exist"):
        looked_up_repository(access, "GitRepo", "app")
    path = f"{OURS}/namespaces/team/gitrepos/app"
    objects[path] = 403
    with pytest.raises(ConfigError, match="may not be read"):
        looked_up_repository(access, "GitRepo", "app")
    objects[path] = 500
    with pytest.raises(GitUnreachable):
        looked_up_repository(access, "GitRepo", "app")
    objects[path] = {"spec": {"repoUri": "https://h/x", "authConfig": {"type": "token", "secretRef": {"name": "s"}}}}
    with pytest.raises(SecretUnusable, match="team/s"):
        looked_up_repository(access, "GitRepo", "app")
    objects["/api/v1/namespaces/team/secrets/s"] = secret(other="x")
    with pytest.raises(SecretUnusable, match="token"):
        looked_up_repository(access, "GitRepo", "app")
    with pytest.raises(ConfigError):
        looked_up_repository(access, "Pod", "app")


def test_outside_of_a_cluster(tmp_path):
    """Without a service account there is one clear error; the token never shows."""
    with pytest.raises(ConfigError, match="neither"):
        in_cluster({}, tmp_path)
    access = ApiAccess(address="https://127.0.0.1:1", token="pod-token", namespace="team", ca_pem=None)
    assert "pod-token" not in repr(access)
    with pytest.raises(GitUnreachable):
        looked_up_repository(access, "GitRepo", "app")
