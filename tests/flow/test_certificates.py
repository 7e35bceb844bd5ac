"""The webhook port's certificate through real handshakes: loaded anew when it changes, kept when the new one is bad."""

import asyncio
import contextlib
import datetime as dt
import resource
import ssl

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from git_events_runner.errors import ApiUnavailable, ConfigError, SecretUnusable
from git_events_runner.serving import Limits, listen, running, serving
from git_events_runner.serving.certificates import Certificates
from git_events_runner.settings import TlsFiles, TlsSecret
from git_events_runner.telemetry.metrics import Metrics
from tests.cluster.certificates import Authority


class Secrets:
    """One Secret that can be changed."""

    def __init__(self, pair):
        self.pair, self.error, self.reads = pair, None, 0

    async def get(self, namespace, name, *keys):
        self.reads += 1
        if self.error:
            raise self.error
        return {"tls.crt": self.pair[0], "tls.key": self.pair[1]}

    def forget(self, namespace, name):
        """Nothing is kept."""


class Events:
    """What was published."""

    def __init__(self):
        self.notes = []

    def publish(self, ref, uid, *, kind, reason, note):
        self.notes.append((str(ref), reason, note))


def issued(authority, name):
    certificate, key = authority.issue(name)
    return certificate.read_bytes(), key.read_bytes()


def expired(pair):
    """The same certificate, ended an hour ago (signed by its own key)."""
    key = serialization.load_pem_private_key(pair[1], None)
    old, now = x509.load_pem_x509_certificate(pair[0]), dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.subject)
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(now - dt.timedelta(hours=2)).not_valid_after(now - dt.timedelta(hours=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pair[1]


async def shown(port):
    """The name in the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    writer.close()
    return found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value


async def until(condition):
    """Return when a condition holds, letting others work."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110  a handshake is the only way to see it
            await asyncio.sleep(0.02)


async def app(scope, receive, send):
    """Answers nothing: only handshakes are looked at."""


async def loaded(secrets, events, metrics, *, poll_s):
    """Certificates that were read once."""
    certificates = Certificates(
        tls=TlsSecret(name="tls", namespace=None),
        secrets=secrets,
        namespace="ns",
        announcer=events,
        metrics=metrics,
        poll_s=poll_s,
    )
    await certificates.load()
    return certificates


async def test_a_new_certificate_is_served_and_a_bad_one_is_refused(tmp_path):
    """Changed: shown to new connections. Foreign key, no PEM, expired: the old one stays, metric and Event say so."""
    authority = Authority(tmp_path)
    one, two = issued(authority, "one"), issued(authority, "two")
    secrets, events, metrics = Secrets(one), Events(), Metrics(prefix="t")
    certificates = await loaded(secrets, events, metrics, poll_s=0.05)

    def valid():
        return b"t_certificate_valid 1.0" in metrics.render()

    with listen(0, host="127.0.0.1") as sock:
        port = sock.getsockname()[1]
        async with serving(app, sock, tls=certificates.context), running(certificates=certificates.run()):
            assert await shown(port) == "one"

            async def shows_two():
                return await shown(port) == "two"

            secrets.pair = two
            await until(shows_two)
            assert valid()
            bad = [(one[0], two[1]), (b"no certificate", two[1]), (two[0], b"no key"), expired(one), (b"", b"")]
            for number, pair in enumerate(bad):
                secrets.pair = pair

                async def told(number=number):
                    return len(events.notes) == number + 1

                await until(told)
                assert not valid()
                assert await shown(port) == "two"
            secrets.pair = two

            async def well():
                return valid()

            await until(well)
    assert {(ref, reason) for ref, reason, _ in events.notes} == {("Secret ns/tls", "CertificateRejected")}
    assert "expired at" in events.notes[3][2]
    end = x509.load_pem_x509_certificate(two[0]).not_valid_after_utc.timestamp()
    line = next(line for line in metrics.render().decode().splitlines() if line.startswith("t_certificate_expiry_time"))
    assert float(line.split()[1]) == end


async def test_an_api_server_that_is_away_makes_no_certificate_invalid(tmp_path):
    """Neither metric nor Event; a Secret that is missing is reported once, however often it is read."""
    secrets, events, metrics = Secrets(issued(Authority(tmp_path), "one")), Events(), Metrics(prefix="t")
    certificates = await loaded(secrets, events, metrics, poll_s=0.01)

    async def read_again():
        wanted = secrets.reads + 4

        async def enough():
            return secrets.reads >= wanted

        await until(enough)

    async with running(certificates=certificates.run()):
        secrets.error = ApiUnavailable("away")
        await read_again()
        assert b"t_certificate_valid 1.0" in metrics.render()
        assert events.notes == []
        secrets.error = SecretUnusable("Secret ns/tls does not exist")
        await read_again()
        assert b"t_certificate_valid 0.0" in metrics.render()
        assert len(events.notes) == 1


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_handshakes_count_as_connections_and_end_in_time(tmp_path, factory):
    """Connections that say nothing to a port with TLS: no more than the limit stay open, and none for long."""
    certificate, key = issued(Authority(tmp_path), "one")
    (tmp_path / "one.pem").write_bytes(certificate + b"\n" + key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "one.pem")

    async def answering(scope, receive, send):
        await send({"type": "http.response.start", "status": 204 if scope["scheme"] == "https" else 500, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def get(port):
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return answer

    async def main():
        with listen(0, host="127.0.0.1") as sock:
            port = sock.getsockname()[1]
            async with serving(answering, sock, tls=lambda: context, limits=Limits(header_s=5)):
                assert b"204" in await get(port)
                quiet = [await asyncio.open_connection("127.0.0.1", port) for _ in range(most + 20)]
                assert b"204" in await get(port)
                quiet[-1][1].write(b"no TLS at all")
                async with asyncio.timeout(20):
                    await asyncio.gather(*(reader.read() for reader, _ in quiet[:20]), return_exceptions=True)
                    assert sum(reader.at_eof() or reader.exception() is not None for reader, _ in quiet) < most
                    await asyncio.gather(*(reader.read() for reader, _ in quiet), return_exceptions=True)
                for _, writer in quiet:
                    writer.close()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (256 + 2 * most, hard))
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_bad_certificate_at_start_is_said_at_once(tmp_path):
    """Nothing is served with it."""
    authority = Authority(tmp_path)
    (tmp_path / "other.key").write_bytes(issued(authority, "other")[1])
    certificate, _ = authority.issue("one")
    certificates = Certificates(
        tls=TlsFiles(cert_path=str(certificate), key_path=str(tmp_path / "other.key")),
        secrets=Secrets((b"", b"")),
        namespace="ns",
        announcer=Events(),
        metrics=Metrics(prefix="t"),
    )
    with pytest.raises(ConfigError, match="certificate of the webhook port cannot be used"):
        await certificates.load()
