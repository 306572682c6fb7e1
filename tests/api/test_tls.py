"""A server with a certificate of its own, over a real socket: who may be talked to, and by whom."""

from __future__ import annotations

import datetime
import ipaddress
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from evomerge.client import Client
from evomerge.errors import NotFoundError, ResourceError
from evomerge.store import open_store
from evomerge.store.access import Scope
from tests.dispatch.nodes import free_port


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine's loopback address, signed by its own key, for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evomerge test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of `evomerge serve` with TLS, its certificate and a token."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = _certificate(folder)
    store = open_store(str(folder / "store.db"))
    token, _ = store.create_token("root", Scope.ADMIN)
    store.close()
    port = free_port()
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    command = [sys.executable, "-m", "evomerge", "serve", "--api-only", "--port", str(port), *tls]
    environment = {**os.environ, "EVOMERGE_STORE": str(folder / "store.db")}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"https://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{address}/healthz", verify=False, timeout=5)
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline and process.poll() is None, "no server came"
            time.sleep(0.1)
    yield address, certificate, token
    process.terminate()
    process.wait(30)


def test_the_client_talks_to_a_server_whose_certificate_it_was_given(served, monkeypatch):
    address, certificate, token = served
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Client(address, token) as client:
        assert client.searches().items == []
        with pytest.raises(NotFoundError):
            client.search("nobody")


def test_a_certificate_nobody_vouches_for_is_refused_with_the_remedy(served, monkeypatch):
    address, _, token = served
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with Client(address, token, retries=0) as client, pytest.raises(ResourceError) as refused:
        client.searches()
    assert "SSL_CERT_FILE" in str(refused.value)


def test_plain_http_gets_no_answer_from_it_and_its_cookies_stay_on_tls(served):
    address, certificate, token = served
    with pytest.raises(httpx.TransportError):
        httpx.get(address.replace("https", "http") + "/healthz", timeout=5)
    entered = httpx.post(
        f"{address}/login",
        data={"token": token},
        headers={"Origin": address},
        verify=str(certificate),
        timeout=10,
    )
    assert entered.status_code == 303, entered.text
    assert all("Secure" in cookie for cookie in entered.headers.get_list("set-cookie"))
