"""The web config file: what it may say, and what is wrong with it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from exporter.config.errors import ConfigError
from exporter.config.web_file import load_web_file
from exporter.web.protection import Protection
from tests.providers.tls import make_certificate

HASH = "$2y$10$" + "a" * 53
TLS = "tls_server_config: {cert_file: localhost.pem, key_file: localhost.key%s}\n"


def _said(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Protection(path)
    return str(caught.value).replace(str(path.parent), "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("basic_auth_users: {ann: secret}\n", "/web.yml:1:19: basic_auth_users: must be bcrypt hashes, as htpasswd"),
        ("basic_auth_users:\n  'a:b': " + HASH, "names can't have a colon"),
        ("basic_auth_user: {}\n", "did you mean 'basic_auth_users'?"),
        ("- 1\n", "must be a mapping"),
        ("a: [\n", "/web.yml:2:1: this is not valid YAML"),
        ("tls_server_config: {cert_file: x}\n", "tls_server_config.key_file"),
        (TLS % ", min_version: SSL3", "min_version"),
        (TLS % ", min_version: TLS13, max_version: TLS12", "min_version is above max_version"),
        (TLS % ", client_auth_type: RequireAndVerifyClientCert", "needs client_ca_file"),
        (TLS % ", client_auth_type: RequireAnyClientCert", "client_auth_type"),
        (TLS % ", client_ca_file: none.pem", "client_ca_file none.pem: No such file or directory"),
        (TLS % ", cipher_suites: [TLS_NO_WITH_NONE]", "OpenSSL knows none of them"),
        (TLS % ", client_allowed_sans: [a]", "client_allowed_sans"),
        ("tls_server_config: {cert_file: none.pem, key_file: localhost.key}\n", "No such file or directory"),
        (
            "tls_server_config: {cert_file: localhost.key, key_file: localhost.pem}\n",
            "no such PEM files",
        ),
        ("http_server_config: {headers: {'a b': c}}\n", "must be names of headers with a line of text each"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    file = tmp_path / "web.yml"
    file.write_text(text)
    found = _said(file)
    assert said in found
    assert "secret" not in found


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no file /web.yml; create it or correct the path" in _said(tmp_path / "web.yml")


@pytest.mark.parametrize("text", ["", "http_server_config: {http2: false}\n", "tls_server_config: {}\n"])
def test_a_file_that_asks_for_nothing(text: str, tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(text)
    assert Protection(file).tls is None
    assert Protection(file).unused() == []


def test_what_does_nothing_here_is_said(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    file = tmp_path / "web.yml"
    file.write_text("rate_limit: {interval: 1s, burst: 3}\n" + TLS % ", curve_preferences: [X25519]")
    assert [said.partition(": ")[2].split()[0] for said in Protection(file).unused()] == [
        "rate_limit",
        "curve_preferences",
    ]


def test_versions_and_ciphers_are_those_that_were_asked_for(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    file = tmp_path / "web.yml"
    names = (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,"
        " TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, TLS_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256"
    )
    file.write_text(TLS % f", max_version: TLS12, cipher_suites: [{names}]")
    context = Protection(file).tls
    assert context is not None
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    # As openssl-ciphers(1) has them.
    assert {item["name"] for item in context.get_ciphers() if item["protocol"] != "TLSv1.3"} == {
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA256",
        "AES128-GCM-SHA256",
    }


def test_a_bom_and_an_empty_key_are_nothing(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_bytes(b"\xef\xbb\xbfbasic_auth_users:\n")
    assert load_web_file(file).basic_auth_users == {}
