"""Git servers: nginx with git http-backend, whose access log counts requests and bytes as nginx does."""

import base64
import hashlib
import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.certificates import Authority
from tests.cluster.plane import Process, free_port, wait_until

_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 512; }}
http {{
  log_format counted '$request_method $uri $status $request_length $bytes_sent $http_authorization';
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000; keepalive_timeout 300s;
  access_log {folder}/access.log counted;
  server {{
    listen {host}:{port};
    listen {host}:{tls_port} ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    location /dumb/ {{ alias {folder}/repositories/; default_type text/plain; }}
    location /basic/ {{ auth_basic git; auth_basic_user_file {folder}/users; {cgi} }}
    location /token/ {{ if ($http_authorization != "Bearer sesame") {{ return 401; }} {cgi} }}
    location / {{ {cgi} }}
  }}
}}
"""
_CGI = """
      fastcgi_pass unix:{folder}/cgi.sock;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param GIT_PROJECT_ROOT {folder}/repositories;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param HOME {folder};
"""


class Unavailable(Exception):
    """nginx or fcgiwrap is not installed."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One line of the access log; bytes with headers."""

    method: str
    path: str
    status: int
    sent: int
    received: int


def _git(*arguments, cwd, env=None, stdin=None):
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=env, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Repository:
    """A bare repository on the server; `push` moves a branch by one commit and returns its id."""

    def __init__(self, server, name, *, place=""):
        self.name = name
        self.path = server.folder / "repositories" / place / f"{name}.git"
        self.url = f"{server.url}/{place + '/' if place else ''}{name}.git"
        self.path.mkdir(parents=True)
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(server.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{
                f"GIT_{who}_{what}": f"{who}@x".lower() for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
            },
        }
        _git("init", "-q", "--bare", "-b", "main", ".", cwd=self.path, env=self._env)
        _git("config", "uploadpack.allowFilter", "true", cwd=self.path, env=self._env)
        _git("config", "uploadpack.allowAnySHA1InWant", "true", cwd=self.path, env=self._env)

    def git(self, *arguments, stdin=None):
        """Run git in the repository."""
        return _git(*arguments, cwd=self.path, env=self._env, stdin=stdin)

    def push(self, files=None, *, branch="main", message="change", author="t"):
        """Commit files (path → text) on top of the branch, or an empty commit."""
        stream = [
            f"commit refs/heads/{branch}",
            f"author {author} <{author}@x> now",
            "committer t <t@x> now",
            f"data {len(message)}",
            message,
        ]
        found = subprocess.run(
            ["git", "rev-parse", "-q", "--verify", f"refs/heads/{branch}"],
            cwd=self.path,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode == 0:
            stream.append(f"from {found.stdout.strip()}")
        for path, text in (files or {}).items():
            stream += [f"M 100644 inline {path}", f"data {len(text.encode())}", text]
        self.git("fast-import", "--quiet", "--date-format=now", "--force", stdin="\n".join(stream) + "\n")
        return self.head(branch)

    def head(self, branch="main"):
        """The commit that the branch shows."""
        return self.git("rev-parse", f"refs/heads/{branch}")

    def tag(self, name, *, annotated=False):
        """Tag the head."""
        self.git("tag", "-f", *(["-a", "-m", name] if annotated else []), name, "main")


class GitServer:
    """nginx + fcgiwrap + git http-backend, over `url` and `tls_url` (certificate by `authority`).

    Places: "" (open, and under /dumb as files without a program), "basic" (user:pass), "token" (Bearer sesame).
    """

    def __init__(self, folder, *, host="127.0.0.1"):
        missing = [name for name in ("nginx", "fcgiwrap", "git") if _which(name) is None]
        if missing:
            raise Unavailable(f"not installed: {', '.join(missing)}")
        self.folder = folder
        (folder / "repositories").mkdir(parents=True)
        self._names = itertools.count()
        self.port, self.tls_port = free_port(), free_port()
        self.url, self.tls_url = f"http://{host}:{self.port}", f"https://{host}:{self.tls_port}"
        self.authority = Authority(folder / "pki")
        certificate, key = self.authority.issue("nginx", host)
        backend = Path(_git("--exec-path", cwd=folder)) / "git-http-backend"
        cgi = _CGI.format(folder=folder, backend=backend)
        user = "user root;" if os.geteuid() == 0 else ""
        tls = {"tls_port": self.tls_port, "certificate": certificate, "key": key}
        (folder / "nginx.conf").write_text(
            _CONFIG.format(folder=folder, host=host, port=self.port, cgi=cgi, user=user, **tls)
        )
        digest = base64.b64encode(hashlib.sha1(b"pass", usedforsecurity=False).digest()).decode()
        (folder / "users").write_text(f"user:{{SHA}}{digest}\n")
        self._cgi = Process([_which("fcgiwrap"), "-c", "2", "-s", f"unix:{folder}/cgi.sock"], folder / "cgi.log")
        wait_until("fcgiwrap listens", (folder / "cgi.sock").exists)
        self._nginx = Process(
            [_which("nginx"), "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"],
            folder / "nginx.log",
        )
        wait_until("nginx writes its log", (folder / "access.log").exists)

    def repository(self, *, place=""):
        """A new bare repository without a commit."""
        return Repository(self, f"r{next(self._names)}", place=place)

    def requests(self, repository=None):
        """Requests so far (to one repository)."""
        lines = (self.folder / "access.log").read_text().splitlines()
        found = []
        for line in lines:
            method, path, status, received, sent, *_ = line.split(" ")
            if repository is None or f"/{repository.name}.git/" in path:
                found.append(
                    Request(method=method, path=path, status=int(status), received=int(received), sent=int(sent))
                )
        return found

    def close(self):
        """Stop the processes."""
        for process in (self._nginx, self._cgi):
            process.kill()


def _which(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
