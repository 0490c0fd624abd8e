"""HTTPS: certificates that are read anew while connections stay, and one of our own making."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from rtcfwd import tls
from rtcfwd.app import Server, StartError, exposure
from rtcfwd.config import Config
from rtcfwd.forwarder.fake import FakeForwarder
from rtcfwd.tls import Tls, TlsError, self_signed
from tests.unit.server_tools import serving
from tests.unit.session_tools import PUBLISH


def write(folder: Path, name: str, addresses: tuple[str, ...] = ("127.0.0.1",)) -> tuple[str, str]:
    """A certificate for ``name`` and its key, as files."""
    certificate, key = self_signed([name], addresses)
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate)
    paths[1].write_bytes(key)
    return str(paths[0]), str(paths[1])


async def shown(port: int, name: str | None) -> list[str]:
    """The names in the certificate that a server shows to a new connection. ``name``: the server
    name that the client sends, None for none (as for an address)."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=name or ""
    )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    alternative = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return list(alternative.value.get_values_for_type(x509.DNSName))


@pytest.mark.duty("W27")
async def test_https_with_a_certificate_from_files(tmp_path: Path) -> None:
    cert, key = write(tmp_path, "one.test")
    trusted = ssl.create_default_context(cafile=cert)
    async with serving(tls_cert=cert, tls_key=key) as (server, _, _fake):
        assert server.scheme == "https"
        base = f"https://127.0.0.1:{server.http_port}"
        async with aiohttp.ClientSession(
            base, connector=aiohttp.TCPConnector(ssl=trusted)
        ) as client:
            headers = {"Content-Type": "application/sdp"}
            async with client.post("/whip/demo", data=PUBLISH, headers=headers) as reply:
                assert reply.status == 201
                location = reply.headers["Location"]
            async with client.delete(location) as reply:
                assert reply.status == 200
        with pytest.raises(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as plain,
                plain.get(f"http://127.0.0.1:{server.http_port}/"),
            ):
                pass


@pytest.mark.duty("W27")
async def test_a_new_certificate_is_used_and_nothing_is_dropped(tmp_path: Path) -> None:
    cert, key = write(tmp_path, "one.test")
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    async with serving(tls_cert=cert, tls_key=key) as (server, _, _fake):
        base = f"https://127.0.0.1:{server.http_port}"
        connector = aiohttp.TCPConnector(ssl=anybody, limit=1)
        async with aiohttp.ClientSession(base, connector=connector) as client:
            headers = {"Content-Type": "application/sdp"}
            async with client.post("/whip/demo", data=PUBLISH, headers=headers) as reply:
                location = reply.headers["Location"]
                await reply.read()
            open_connections = dict(connector._conns)
            for name in (None, "one.test", "x.test"):
                assert await shown(server.http_port, name) == ["one.test"]
            write(tmp_path, "two.test")
            await server.reload()
            for name in (None, "two.test", "x.test"):
                assert await shown(server.http_port, name) == ["two.test"]
            # The session and the old connection go on.
            async with client.get(location) as reply:
                assert reply.status == 204
            assert set(open_connections) == set(connector._conns)
            # Half of a renewal: the certificate that was good stays.
            (tmp_path / "key.pem").write_bytes(self_signed(["three.test"], [])[1])
            await server.reload()
            assert await shown(server.http_port, "x.test") == ["two.test"]
            assert len(server.registry.sessions) == 1


def test_reading_anew_follows_the_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cert, key = (Path(name) for name in write(tmp_path, "one.test"))
    watched = Tls(cert, key)
    assert not watched.reload()
    assert watched.reload(always=True)
    write(tmp_path, "two.test")
    assert watched.reload()
    assert not watched.reload()
    cert.unlink()  # between the steps of a renewal
    assert not watched.reload()
    cert.write_bytes(b"no certificate")
    assert not watched.reload()
    assert "the old certificate stays: " in caplog.text
    assert not watched.reload()  # told once, not at each look
    assert caplog.text.count("the old certificate stays") == 1
    write(tmp_path, "three.test")
    assert watched.reload()


async def test_the_files_are_looked_at_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "POLL_S", 0.001)
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()
    cert, key = write(tmp_path, "one.test")
    watched = await asyncio.to_thread(Tls, Path(cert), Path(key))
    monkeypatch.setattr(watched, "reload", lambda: loop.call_soon_threadsafe(seen.set))
    watched.start()
    await asyncio.wait_for(seen.wait(), 30)
    await watched.close()


@pytest.mark.duty("W27")
def test_sighup_reads_the_certificate_anew(tmp_path: Path) -> None:
    pytest.importorskip("rtcfwd.forwarder._forwarder")
    cert, key = write(tmp_path, "one.test")
    options = (
        f"--host 127.0.0.1 --port 0 --udp-port 0 --workers 1 --tls-cert {cert} --tls-key {key}"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "rtcfwd", "serve", *options.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stdout is not None
        assert process.stderr is not None
        match = re.match(r"rtcfwd: ready https://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert match is not None
        address = ("127.0.0.1", int(match[1]))
        assert ssl.get_server_certificate(address) == Path(cert).read_text()
        write(tmp_path, "two.test")
        process.send_signal(signal.SIGHUP)
        assert any("was read anew" in line for line in process.stderr)
        assert ssl.get_server_certificate(address) == Path(cert).read_text()
        process.terminate()
        process.communicate()
        guard.cancel()
    assert process.returncode == 0


def test_files_that_are_no_good_are_told(tmp_path: Path) -> None:
    cert, key = write(tmp_path, "one.test")
    other = self_signed(["two.test"], [])[1]
    encrypted = serialization.load_pem_private_key(other, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    for content, told in (
        (other, "KEY_VALUES_MISMATCH|key values mismatch"),
        (b"", "cert|PEM|no start line"),
        (encrypted, "without a password"),
    ):
        Path(key).write_bytes(content)
        with pytest.raises(TlsError, match=told):
            Tls(Path(cert), Path(key))
    with pytest.raises(TlsError, match="No such file"):
        Tls(Path("/nowhere/cert.pem"), Path(key))


async def test_a_start_with_a_bad_certificate_fails_in_one_line() -> None:
    config = Config(host="127.0.0.1", port=0, udp_port=0, tls_cert="/no/c.pem", tls_key="/no/k.pem")
    fake = FakeForwarder()
    with pytest.raises(StartError, match=r"/no/c\.pem, /no/k\.pem: No such file"):
        await Server(config, make_forwarder=lambda config: fake).start()
    assert fake.closed


@pytest.mark.duty("W27")
async def test_self_signed_for_a_try_out() -> None:
    async with serving(tls_self_signed=True) as (server, _, _fake):
        assert server.scheme == "https"
        assert "localhost" in await shown(server.http_port, "localhost")


def test_what_a_self_signed_certificate_is_for(tmp_path: Path) -> None:
    pem, key = self_signed(
        ["localhost", "my-host", "a..b", "", "é"], ["127.0.0.1", "192.168.1.5", "fe80::1%eth0"]
    )
    certificate = x509.load_pem_x509_certificate(pem)
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == ["localhost", "my-host"]
    addresses = [str(a) for a in alternative.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "192.168.1.5", "fe80::1"]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert b"PRIVATE KEY" in key
    # A client that is given it, as a phone is, trusts it for the address.
    file = tmp_path / "cert.pem"
    file.write_bytes(pem)
    assert ssl.create_default_context(cafile=str(file)).cert_store_stats()["x509"] == 1


def test_the_self_signed_key_leaves_nothing_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls.tempfile, "tempdir", str(tmp_path))
    modes = []
    real = tls._context

    def spy(certificate: Path, key: Path) -> ssl.SSLContext:
        modes.append((stat.S_IMODE(key.stat().st_mode), stat.S_IMODE(key.parent.stat().st_mode)))
        return real(certificate, key)

    monkeypatch.setattr(tls, "_context", spy)
    tls.self_signed_context(["127.0.0.1"])
    assert modes == [(0o600, 0o700)]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"host": "127.0.0.1"}, ""),
        ({"host": "::1"}, ""),
        ({"host": "::"}, "everybody who reaches this port"),
        ({"host": "192.0.2.1"}, "everybody who reaches this port"),
        ({"host": "::", "auth_webhook": "http://x/"}, "in clear"),
        ({"host": "::", "auth_webhook": "http://x/", "tls_self_signed": True}, ""),
        ({"host": "::", "auth_webhook": "http://x/", "trusted_proxies": ("10.0.0.1/32",)}, ""),
        ({"host": "::", "tls_self_signed": True}, "everybody who reaches this port"),
    ],
)
def test_what_is_warned_of_at_the_start(settings: dict[str, object], told: str) -> None:
    warning = exposure(Config(**settings))  # type: ignore[arg-type]
    assert (told in warning) if told else warning == ""
