"""The worst input that each parser's bound lets in; `python -m tests.repo.worst_inputs` measures all of them."""

import base64
import contextlib
import datetime as dt
import ipaddress
import json
import sys
import time
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from git_events_runner.edges.git.commits import CommitFront
from git_events_runner.edges.git.http.lfs import ANSWER_BYTES, batch_of
from git_events_runner.edges.git.http.trust import trusted_parts, trusting
from git_events_runner.edges.git.limits import Limits
from git_events_runner.edges.git.packs import read_tree
from git_events_runner.edges.git.pktline import PacketReader, packet
from git_events_runner.edges.git.request import Repository
from git_events_runner.edges.git.ssh.key_bounds import KeyBounds
from git_events_runner.edges.git.ssh.keys import read_key
from git_events_runner.errors import GitError
from git_events_runner.resources import bounds
from git_events_runner.resources.ignore import Ignore
from git_events_runner.resources.parse import parse
from git_events_runner.resources.references import Branches, References
from git_events_runner.resources.ssh import SshAddress, host_keys, problem_of
from git_events_runner.rules.forge_links import commit_page
from git_events_runner.rules.forges import MalformedPayload, read
from git_events_runner.rules.ignore import ignored_by
from git_events_runner.rules.patterns import Patterns
from git_events_runner.rules.proofs import Scheme
from git_events_runner.rules.references import Watched
from git_events_runner.rules.schedule.schedule import parse_schedule
from git_events_runner.rules.senders import forwarded_sender
from git_events_runner.rules.signatures import keys_of, verify_signature
from tests.edges.git.hostilekeys import openssh

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
MOST_MEASURED_MS = 500
"""What costs more is measured by hand; the table says what came out."""


def secret_value():
    text = base64.b64encode(b"x" * bounds.SECRET_VALUE_BYTES).decode()
    return lambda: base64.b64decode(text, validate=True)


def private_key():
    text = openssh(KeyBounds().rounds)
    return lambda: read_key(text, "pass", KeyBounds())


def known_hosts():
    address = SshAddress.of("git@" + "a" * 250 + ":x/y")
    lines = ",".join(["*a?"] * 16_000) + " " + _KEY + "\n" + ("x.example " + _KEY + "\n") * 20
    text = lines[: bounds.KNOWN_HOSTS_BYTES]
    return lambda: (problem_of(text), host_keys(text.splitlines(), address))


def certificates():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    block = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    text = block * (bounds.CA_BYTES // len(block))
    there = Repository(url="https://x/y")

    def work():
        context = None
        for part in trusted_parts(text):
            context = trusting(there, part, context)

    return work


def webhook_keys():
    keys = keys_of(b"\n".join(b"%d" % number * 1024 for number in range(8)))
    scheme = Scheme(type="hmac", header="x-signature")
    headers, body = {"x-signature": [b"0" * 64]}, b"x" * 3 * 2**20
    return lambda: verify_signature(scheme, headers, body, keys, now_s=0.0)


def patterns():
    """A tenth of the steps that are allowed."""
    lines = ["*" + "a*" * 31 + "b"] * 1000
    compiled = Patterns(lines)
    paths = [f"{'ab' * 60}{number}" for number in range(1000)]

    def work():
        while compiled.steps < bounds.PATTERN_STEPS // 10:
            for path in paths:
                compiled.selects(path)

    return work


def reference_patterns():
    deep = tuple("**/a*/" * 40 + f"b{number}" for number in range(32))
    watched = Watched.of(References(branches=Branches(include=deep)))
    name = "refs/heads/" + "/".join("a" * 120)

    def work():
        for _ in range(20_000):
            watched.matches(name)

    return work


def url():
    text = "https://" + "a." * 900 + "example/" + "%41" * 70
    return lambda: Repository(url=text).check()


def cron():
    """A moment that is far away."""
    return lambda: parse_schedule(None, "59 59 23 29 2 ? 2096")


def schema_text():
    return lambda: parse(_trigger(["a"]))


def stored_object():
    raw = json.dumps(_trigger(["p" * 1400] * 1000))
    return lambda: parse(json.loads(raw))


def _trigger(files):
    return {
        "apiVersion": "git-events-runner.rs/v1alpha1",
        "kind": "ScheduleTrigger",
        "metadata": {"name": "x", "namespace": "n", "uid": "u", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "sources": {"kind": "GitRepo", "names": ["app"], "watchOn": {"onChangeOnly": True, "files": files}},
            "action": {"kind": "Action", "name": "b"},
            "schedule": {"interval": "1h"},
        },
    }


def packets():
    """A sixteenth of an advertisement."""
    data = packet(b"a" * 40 + b" r\n") * (4 * 2**20 // 47)

    def work():
        for _ in PacketReader("x", limit_bytes=2**26).feed(data):
            pass

    return work


def commit_text():
    """A message that each pattern follows to its end, of a commit that is longer than what is read."""
    content = b"tree " + b"1" * 40 + b"\nauthor A <a@example.com> 1 +0000\n\n" + b"a" * 500_000
    packed = b"PACK" + bytes((0, 0, 0, 2, 0, 0, 0, 2, 0x90 | 0xF, 0xFF, 0xFF, 0x0F)) + zlib.compress(content)
    worst = "*" + "a" * 120 + "b*"
    ignore = Ignore(authors=(worst,) * 16, messages=(worst,) * 16, skip_ci=True)

    def work():
        front = CommitFront("1" * 40)
        with contextlib.suppress(CommitFront.Seen):
            front.feed(packed)
        assert ignored_by(ignore, front.text("sha1", Limits())) is None

    return work


def pack():
    """A pack that inflates to a quarter of what is allowed, as contents that are dropped."""
    size = Limits().inflated_bytes // 4
    head = bytes([0xB0 | size & 15]) + _varint(size >> 4)
    data = b"PACK" + (2).to_bytes(4) + (1).to_bytes(4) + head + zlib.compress(bytes(size)) + bytes(20)

    def work():
        with contextlib.suppress(GitError):
            read_tree(data, "a" * 40, "sha1", Limits())

    return work


def _varint(value):
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def lfs_answer():
    """As many values as fit, none of which is what was asked for."""
    text = b"[" + b"1," * (ANSWER_BYTES // 2 - 2) + b"1]"

    def work():
        with contextlib.suppress(GitError):
            batch_of(Repository(url="https://git.example/a.git"), text)

    return work


def payload():
    body = b'{"ref":"refs/heads/main","x":[' + b"[]," * (8 * 2**20) + b"[]]}"
    headers = {"x-github-event": [b"push"], "content-type": [b"application/json"]}

    def work():
        with contextlib.suppress(MalformedPayload):
            read("github", headers, body)

    return work


def request_head():
    hops = ["10.0.0.1"] * 25_000
    trusted = [ipaddress.ip_network("10.0.0.0/8")]
    return lambda: forwarded_sender("10.0.0.1", hops, trusted)


def view_of_status_page():
    from git_events_runner.flow.ui import application

    scope = {"raw_path": b"/ui/" + b"%e2%80%ae/" * 3000, "path": ""}
    query = b"&".join(b"q=%e2%80%ae" for _ in range(170))
    return lambda: (application._parts(scope), application._query(query))


def texts_on_status_page():
    """A page of 50 sources with the longest addresses, and a message of every condition."""
    from git_events_runner.flow.ui.words import visible

    address, message = "https://github.com/" + "a" * 2000, "\u202e" * 32_768
    return lambda: ([commit_page(address, "0" * 40) for _ in range(50)], visible(message))


def notifier():
    """A template of nothing but fields, the longest key, and the marks of a hundred Notifiers."""
    from git_events_runner.rules.notifications.marks import marks_of
    from git_events_runner.rules.notifications.webhook import key_of
    from tests.rules.notifications.samples import run

    template, key = "{job}" * 409, b"whsec_" + b"QUFB" * 128 * 1024
    marks = " ".join(f"{number:036d}=!Succeeded@{number}" for number in range(140))
    return lambda: (run().link(template), key_of(key), marks_of(marks))


def worker_log():
    """Many values that are all but in the log, one that is in it as often as is allowed, and nothing but escapes."""
    from git_events_runner.rules.notifications.worker_log import LOG_BYTES, last_lines

    near = [f"{'a' * 200}{number:03d}" for number in range(120)]
    log = (b"a" * 199 + b"b\x1b[0m") * (LOG_BYTES // 204)
    return lambda: (last_lines(log, 50, near), last_lines(b"aaaaaaa " * 4096, 50, ["aaaaaa", "aaaaaab"]))


def chat_address():
    """An address of nothing but separators."""
    from git_events_runner.edges.chat.services import plugin_for
    from git_events_runner.errors import SecretUnusable

    def read():
        for address in ("matrix://", "pover://user:pass@host/#"):
            with contextlib.suppress(SecretUnusable):
                plugin_for(address + "/" * (2048 - len(address)))

    read()  # the plugins are imported
    return read


INPUTS = {
    "value of a Secret": secret_value,
    "private key for SSH": private_key,
    "known hosts": known_hosts,
    "certificates of a CA": certificates,
    "keys of a webhook": webhook_keys,
    "file patterns": patterns,
    "patterns of references": reference_patterns,
    "URL of a source or of its proxy": url,
    "cron and interval": cron,
    "quantities, patterns of the schema": schema_text,
    "object of our kinds, or a Job": stored_object,
    "packets of git's protocol": packets,
    "author and message of a commit": commit_text,
    "pack with the trees of a commit": pack,
    "answer of an LFS server": lfs_answer,
    "payload of a webhook": payload,
    "head of a webhook": request_head,
    "address of a view of the status page": view_of_status_page,
    "texts on the status page": texts_on_status_page,
    "templates, key and marks of a Notifier": notifier,
    "log of a worker, and the values that are masked in it": worker_log,
    "address of a chat system, by a plugin of apprise": chat_address,
}
SERVED = {
    "HTTP framing of a response": "tests/edges/git/test_git_framing.py",
    "SSH framing of a response": "tests/edges/git/test_git_ssh_hostile.py",
}
"""What only a server can send; where it does."""


def cpu_ms(name):
    """CPU time of the thread that parses the worst input."""
    work = INPUTS[name]()
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1000


if __name__ == "__main__":
    for each in INPUTS:
        sys.stdout.write(f"{each}: {cpu_ms(each):.1f} ms\n")
