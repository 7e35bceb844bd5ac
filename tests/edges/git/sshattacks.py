"""What an SSH server can do to a client: scripts before the login, behaviours of a login, processes after it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import asyncssh

from git_events_runner.edges.git.pktline import packet
from git_events_runner.edges.git.protocol import FLUSH

V2 = packet(b"version 2\n") + packet(b"fetch=shallow\n") + FLUSH


async def silent(reader, writer):
    await reader.read()


async def drips(reader, writer):
    while True:
        writer.write(b"S")
        await writer.drain()
        await asyncio.sleep(0.05)


async def floods(reader, writer):
    while True:
        writer.write(b"welcome " * 512 + b"\r\n")
        await writer.drain()


async def floods_one_line(reader, writer):
    while True:
        writer.write(b"S" * 65536)
        await writer.drain()


async def sends_messages_to_ignore(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
    packet = b"\0\0\0\x0c" + b"\x06" + b"\x02" + b"\0\0\0\0" + b"p" * 6
    while True:
        writer.write(packet * 1000)
        await writer.drain()


async def speaks_http(reader, writer):
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>no</html>\r\n")
    await writer.drain()


async def stops_after_the_version(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
    await writer.drain()
    await reader.read()


async def sends_garbage(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n" + b"\x00\x00\x10\x00" + bytes(range(256)) * 16)
    await writer.drain()
    await reader.read()


async def promises_a_huge_packet(reader, writer):
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n" + b"\x7f\xff\xff\xfc\x04\x14")
    while True:
        writer.write(b"\0" * 65536)
        await writer.drain()


class _Hostile(asyncssh.SSHServer):
    """Answers logins as a test says."""

    def __init__(self, behaviour, connections):
        self.behaviour = behaviour
        self.connections = connections

    def connection_made(self, conn):
        self.connection = conn
        self.connections.append(conn)

    async def begin_auth(self, username):
        if self.behaviour == "hang":
            await asyncio.sleep(30)
        if self.behaviour == "debug":
            for _ in range(100_000):
                self.connection.send_debug("x" * 100)
                await asyncio.sleep(0)
        if self.behaviour == "banner":
            for _ in range(4000):
                self.connection.send_auth_banner("login here \x1b[31m" * 100)
                await asyncio.sleep(0)
        return True

    def public_key_auth_supported(self):
        return self.behaviour != "prompt"

    def password_auth_supported(self):
        return self.behaviour == "prompt"

    def kbdint_auth_supported(self):
        return self.behaviour == "prompt"

    def get_kbdint_challenge(self, username, lang, submethods):
        raise AssertionError("a prompt was asked for")

    def validate_password(self, username, password):
        raise AssertionError("a password was given")

    def validate_public_key(self, username, key):
        return self.behaviour != "refuse"


@asynccontextmanager
async def serving(keys, behaviour="", process=None):
    """An SSH server with this behaviour, and a process that answers every command."""
    connections = []

    async def serve(channel):
        try:
            await process(channel)
        except (BrokenPipeError, ConnectionError, asyncssh.Error):
            pass
        finally:
            channel.exit(1)

    server = await asyncssh.create_server(
        lambda: _Hostile(behaviour, connections),
        "127.0.0.1",
        0,
        server_host_keys=[keys[1]],
        process_factory=serve if process else None,
        encoding=None,
        login_timeout=5,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            connection.abort()
            await connection.wait_closed()
        await server.wait_closed()


async def hangs(channel):
    await channel.stdin.read()
    await asyncio.sleep(30)


async def ends(channel):
    channel.exit(0)


async def says(channel):
    channel.stderr.write(b"ERROR: Repository not found.\nfatal: \x1b[31mCould not read\x07 from remote repository.\n")


async def says_without_end(channel):
    while True:
        channel.stderr.write(b"x" * 65536)
        await channel.stderr.drain()


async def refs_without_end(channel):
    channel.stdout.write(V2)
    await channel.stdin.read(1)
    line = b"a" * 40 + b" refs/heads/main" + b"x" * 100 + b"\n"
    while True:
        channel.stdout.write(packet(line) * 1000)
        await channel.stdout.drain()


async def an_advertisement_without_end(channel):
    line = b"a" * 40 + b" refs/heads/" + b"x" * 100 + b"\n"
    while True:
        channel.stdout.write(packet(line) * 1000)
        await channel.stdout.drain()


async def html(channel):
    channel.stdout.write(b"<html>Sign in</html>")
    await channel.stdin.read()


async def no_v2_answer(channel):
    channel.stdout.write(V2)
    await channel.stdin.read(1)
    channel.stdout.write(packet(b"not a reference"))
    await channel.stdin.read()
