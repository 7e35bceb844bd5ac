"""A real forge: Gitea with its own SSH server, built once into the cache; users, keys, tokens, hooks by its API."""

import base64
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.cluster.plane import Process, free_port, wait_until
from tests.servers.git import Repository, Unavailable
from tests.servers.lfs import pointer

SOURCES = Path(__file__).parent / "gitea_build"
VERSION = "1.26.0"
_MODULE = "code.gitea.io/gitea"
_PASSWORD = "Correct-horse-1"
_CONFIG = """
APP_NAME = forge
RUN_MODE = prod
WORK_PATH = {folder}/work
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
HTTP_ADDR = {host}
HTTP_PORT = {port}
ROOT_URL = {url}/
STATIC_ROOT_PATH = {static}
OFFLINE_MODE = true
START_SSH_SERVER = true
SSH_DOMAIN = {host}
SSH_PORT = {ssh_port}
SSH_LISTEN_HOST = {host}
SSH_LISTEN_PORT = {ssh_port}
SSH_SERVER_HOST_KEYS = {folder}/host_key
BUILTIN_SSH_SERVER_USER = git
LFS_START_SERVER = true
[lfs]
PATH = {folder}/lfs
[database]
DB_TYPE = sqlite3
[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2_v1
[service]
DISABLE_REGISTRATION = true
[webhook]
ALLOWED_HOST_LIST = *
DELIVER_TIMEOUT = 10
[repository]
DEFAULT_BRANCH = main
[indexer]
ISSUE_INDEXER_TYPE = db
[mailer]
ENABLED = false
[log]
LEVEL = Warn
"""


def build():
    """The gitea binary, from the cache folder or built into it (about three minutes), and its templates' folder."""
    go = shutil.which("go")
    if go is None or shutil.which("gcc") is None:
        raise Unavailable("Go and gcc (to build Gitea)")
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(SOURCES.iterdir()))).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "git-events-runner"
    binary = cache / f"gitea-{VERSION}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "gitea.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = json.loads(_go(go, "mod", "download", "-json", f"{_MODULE}@v{VERSION}"))
        if not binary.exists():
            flags = ("-trimpath", "-tags", "sqlite sqlite_unlock_notify", "-ldflags", "-s -w")
            _go(go, "build", *flags, "-o", f"{binary}.new", _MODULE)
            Path(f"{binary}.new").rename(binary)
    return binary, Path(found["Dir"])


def _go(go, *arguments):
    environment = os.environ | {"CGO_ENABLED": "1"}
    done = subprocess.run([go, *arguments], cwd=SOURCES, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"Gitea, which could not be built: {done.stderr.strip()[-500:]}")
    return done.stdout


def new_key():
    """An ed25519 key pair: the private one in OpenSSH's form, the public one as a line of authorized_keys."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


class Refused(Exception):
    """The API answered with something else than 2xx: `status`."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of the forge, or an organisation (which has no password)."""

    name: str
    password: str | None = None


class ForgeRepository(Repository):
    """A repository of the forge; `push` commits in a repository beside it and pushes over HTTP, so that hooks fire."""

    def __init__(self, forge, owner, name):
        super().__init__(forge, name, place=owner.name)
        self._forge = forge
        self.full_name = f"{owner.name}/{name}"
        self.ssh_url = f"ssh://git@{forge.host}:{forge.ssh_port}/{self.full_name}.git"
        self.api_path = f"/repos/{self.full_name}"

    def push(self, files=None, *, branch="main", message="change"):
        """Commit files (path → text) on top of the branch and push it; the commit's id."""
        made = super().push(files, branch=branch, message=message)
        self.push_refs(f"+refs/heads/{branch}")
        wait_until(f"the forge knows {branch} at {made}", lambda: self._known(branch) == made)
        return made

    def _known(self, branch):
        """The commit that the forge's database has for a branch; it follows pushes in the background."""
        found = self._forge.api("GET", f"{self.api_path}/branches?limit=50") or ()
        return next((each["commit"]["id"] for each in found if each["name"] == branch), None)

    def tag(self, name, *, annotated=False):
        """Tag the head of main and push the tag."""
        super().tag(name, annotated=annotated)
        self.push_refs(f"+refs/tags/{name}")

    def push_refs(self, *refspecs):
        """Push by refspecs as the administrator."""
        self.git("-c", f"http.extraHeader=Authorization: {self._forge.basic()}", "push", "-q", self.url, *refspecs)

    def delete_branch(self, branch):
        """Delete a branch on the forge by its API."""
        self._forge.api("DELETE", f"{self.api_path}/branches/{urllib.parse.quote(branch)}")

    def pull_request(self, branch, *, into="main"):
        """Open a pull request of a pushed branch; its number (its head is refs/pull/NUMBER/head)."""
        return self._forge.api(
            "POST", f"{self.api_path}/pulls", {"head": branch, "base": into, "title": f"merge {branch}"}
        )["number"]

    def store_lfs(self, content):
        """Upload a content to Git LFS as the administrator; gives its pointer."""
        oid = hashlib.sha256(content).hexdigest()
        kind, login = "application/vnd.git-lfs+json", {"Authorization": self._forge.basic()}
        asked = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(content)}]}
        headers = login | {"Accept": kind, "Content-Type": kind}
        url = f"{self.url}/info/lfs/objects/batch"
        request = urllib.request.Request(url, data=json.dumps(asked).encode(), headers=headers, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            [found] = json.loads(answer.read())["objects"]
        upload = found["actions"]["upload"]
        headers = login | (upload.get("header") or {}) | {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(upload["href"], data=content, headers=headers, method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        return pointer(content).decode()

    def deploy_key(self, public, *, read_only=True):
        """Let a public key read this repository over SSH."""
        body = {"title": hashlib.sha256(public.encode()).hexdigest()[:12], "key": public, "read_only": read_only}
        return self._forge.api("POST", f"{self.api_path}/keys", body)

    def hook(self, url, *, secret="", events=("push",), kind="gitea", **config):
        """Register a webhook; its id."""
        return self._forge.hook(self.api_path, url, secret=secret, events=events, kind=kind, **config)

    def test_hook(self, number):
        """Have the forge send the last push of the default branch once more."""
        self._forge.api("POST", f"{self.api_path}/hooks/{number}/tests")

    def statuses(self, commit):
        """The statuses reported for a commit, newest first."""
        return self._forge.api("GET", f"{self.api_path}/commits/{commit}/statuses")


class Gitea:
    """A forge over HTTP (`url`) and SSH (`ssh_port`, host key `host_key` as a line of authorized_keys)."""

    def __init__(self, folder, *, host="127.0.0.1"):
        binary, static = build()
        static = os.environ.get("GIT_EVENTS_RUNNER_TEST_GITEA_ASSETS", static)  # with its style sheets, for pictures
        self.folder, self.host = folder, host
        folder.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count()
        self.port, self.ssh_port = free_port(), free_port()
        self.url = f"http://{host}:{self.port}"
        private, self.host_key = new_key()
        (folder / "host_key").write_text(private)
        (folder / "host_key").chmod(0o600)
        (folder / "host_key.pub").write_text(self.host_key + "\n")
        config = folder / "app.ini"
        config.write_text(
            _CONFIG.format(
                folder=folder, port=self.port, ssh_port=self.ssh_port, url=self.url, static=static, host=host
            )
        )
        (folder / "home").mkdir()
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "USER": "git"}
        self._command = [str(binary), "-c", str(config)]
        self._environment = environment
        self._process = Process([*self._command, "web"], folder / "gitea.log", env=environment)
        wait_until("Gitea answers", self._answers, timeout_s=60)
        self.admin = Account(name="boss", password=_PASSWORD)
        options = ["--username", "boss", "--password", _PASSWORD, "--email", "boss@example.org", "--admin"]
        done = subprocess.run(
            [*self._command, "admin", "user", "create", *options, "--must-change-password=false"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _answers(self):
        assert self._process.running, self._process.text()[-3000:]
        try:
            return self.api("GET", "/version", account=None)
        except OSError:
            return None

    def basic(self, account=None):
        """Value of an Authorization header with a user's password (default: the administrator's)."""
        who = account or self.admin
        return "Basic " + base64.b64encode(f"{who.name}:{who.password}".encode()).decode()

    def api(self, method, path, body=None, *, account="admin"):
        """One call of /api/v1 as an account (None: as nobody); the decoded answer."""
        headers = {"Content-Type": "application/json"}
        if account is not None:
            headers["Authorization"] = self.basic(None if account == "admin" else account)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {error.code} {error.read()[:500]!r}", error.code) from error
        return json.loads(text) if text else None

    def page(self, path):
        """The HTML of a page that is shown to everybody."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return answer.read().decode()

    async def log_in(self, page):
        """Be the administrator on a browser's page."""
        await page.goto(f"{self.url}/user/login")
        await page.fill("input[name=user_name]", self.admin.name)
        await page.fill("input[name=password]", self.admin.password)
        await page.press("input[name=password]", "Enter")
        await page.wait_for_url(f"{self.url}/")

    def user(self):
        """A new user with a password."""
        account = Account(name=f"user{next(self._numbers)}", password=_PASSWORD)
        body = {"username": account.name, "email": f"{account.name}@example.org", "password": account.password}
        self.api("POST", "/admin/users", body | {"must_change_password": False})
        return account

    def organization(self):
        """A new organisation of the administrator."""
        account = Account(name=f"org{next(self._numbers)}")
        self.api("POST", "/orgs", {"username": account.name})
        return account

    def token(self, account=None, *, scopes=("read:repository",)):
        """A new access token of a user."""
        who = account or self.admin
        body = {"name": f"token{next(self._numbers)}", "scopes": list(scopes)}
        return self.api("POST", f"/users/{who.name}/tokens", body, account=who)["sha1"]

    def user_key(self, public, account=None):
        """Let a public key act as a user over SSH."""
        body = {"title": f"key{next(self._numbers)}", "key": public}
        return self.api("POST", "/user/keys", body, account=account or self.admin)

    def repository(self, owner=None, *, private=False):
        """A new empty repository of a user or an organisation (default: the administrator)."""
        who = owner or self.admin
        name = f"r{next(self._numbers)}"
        path = f"/orgs/{who.name}/repos" if who.password is None else f"/admin/users/{who.name}/repos"
        self.api("POST", path, {"name": name, "private": private, "default_branch": "main"})
        return ForgeRepository(self, who, name)

    def organization_hook(self, organization, url, *, secret="", events=("push",), kind="gitea", **config):
        """Register a webhook for all repositories of an organisation; its id."""
        return self.hook(f"/orgs/{organization.name}", url, secret=secret, events=events, kind=kind, **config)

    def hook(self, path, url, *, secret="", events=("push",), kind="gitea", **config):
        """Register a webhook under an API path; its id."""
        settings = {"url": url, "content_type": "json", "secret": secret} | config
        body = {"type": kind, "active": True, "events": list(events), "config": settings}
        return self.api("POST", f"{path}/hooks", body)["id"]

    def restart(self):
        """Stop it cleanly and start it again on the same ports."""
        self._process.stop()
        self._process.start()
        wait_until("Gitea answers again", self._answers, timeout_s=60)

    def close(self):
        """Stop it."""
        self._process.stop()
