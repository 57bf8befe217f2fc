"""Connection strings, taken apart without ever being shown: URLs and libpq's `key=value` form."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

from exporter.config.secrets import Secret
from exporter.config.sentences import did_you_mean

_SCHEMES = {"postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODE = "in a user name or password write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A and % as %25"
_KEYWORD = re.compile(r"\s*(\w+)\s*=\s*")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_BARE = re.compile(r"((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)?", re.DOTALL)

_FILES = {"sslrootcert": "ca", "sslcert": "cert", "sslkey": "key", "ssl-ca": "ca", "ssl-cert": "cert", "ssl-key": "key"}
_MODES = {
    "allow": "prefer", "prefer": "prefer", "disable": "disable", "require": "require",
    "verify-ca": "verify-ca", "verify-full": "verify-full",
    "disabled": "disable", "preferred": "prefer", "required": "require",
    "verify_ca": "verify-ca", "verify_identity": "verify-full",
}  # fmt: skip


# What libpq accepts; whatever has no meaning here is passed over with a warning.
_LIBPQ = frozenset({
    "application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname",
    "fallback_application_name", "gssdelegation", "gssencmode", "gsslib", "host", "hostaddr", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts",
    "max_protocol_version", "min_protocol_version", "oauth_client_id", "oauth_client_secret", "oauth_issuer",
    "oauth_scope", "options", "passfile", "password", "port", "replication", "require_auth", "requirepeer",
    "requiressl", "scram_client_key", "scram_server_key", "service", "servicefile", "ssl_max_protocol_version",
    "ssl_min_protocol_version", "sslcert", "sslcertmode", "sslcompression", "sslcrl", "sslcrldir", "sslkey",
    "sslkeylogfile", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert", "sslsni", "target_session_attrs",
    "tcp_user_timeout", "user",
})  # fmt: skip


_MEANT = _LIBPQ | _FILES.keys() | {"ssl-mode", "socket"}
"""What a parameter may have been meant to be. Those of other drivers (statement_timeout) are none of these."""


class DSNError(ValueError):
    """A connection string cannot be read; the message says why without repeating any part that may be secret."""


@dataclass(slots=True)
class Target:
    """What a connection string says: keys as in the config file, and the parameters that mean nothing here."""

    keys: dict[str, object] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def parse_dsn(dsn: str) -> Target:
    """Take a URL or a libpq keyword string apart. Raises DSNError."""
    text = dsn.strip()
    if _SCHEME.fullmatch(text):
        return parse_url(text)
    return _target("postgres", {}, _keywords(text))


def parse_url(url: str) -> Target:
    """Take `scheme://user:password@host:port/database?parameters` apart. Raises DSNError."""
    match = _SCHEME.fullmatch(url.strip())
    if match is None:
        raise DSNError("is not a URL such as postgresql://user@host:5432/database or mysql://user@host:3306")
    engine = _SCHEMES.get(match[1].lower())
    if engine is None:
        raise DSNError("has an unknown scheme; it must start with postgresql:// or mysql://")
    rest = match[2]
    if "#" in rest or any(char.isspace() or not char.isprintable() for char in rest):
        raise DSNError(f"holds a # or a blank that is not percent-encoded; {_ENCODE}")
    if _BAD_PERCENT.search(rest):
        raise DSNError(f"holds a % that is not followed by two hexadecimal digits; {_ENCODE}")
    end = re.search(r"[/?]", rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    path, _, query = tail.partition("?")
    if "@" in tail:
        raise DSNError(f"has an @ behind its first / or ?; {_ENCODE}")
    userinfo, at, address = authority.rpartition("@")
    keys: dict[str, object] = _address(address)
    if at:
        user, colon, password = userinfo.partition(":")
        if user:
            keys["user"] = _decode(user)
        if colon:
            keys["password"] = Secret.text(_decode(password))
    if path.strip("/"):
        keys["database"] = _decode(path[1:])
    parameters: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise DSNError(f"has something behind the ? that is not key=value; {_ENCODE}")
        parameters[_decode(key)] = _decode(value, plus=engine == "mysql")
    return _target(engine, keys, parameters)


def password_of(url: str) -> str:
    """The password inside a connection string, or an empty one. Raises DSNError."""
    password = parse_dsn(url).keys.get("password")
    return password.reveal() if isinstance(password, Secret) else ""


def _address(address: str) -> dict[str, object]:
    if "," in address:
        raise DSNError("names several hosts; list each as a server of its own")
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
        if not bracket or (rest and not rest.startswith(":")):
            raise DSNError("has an IPv6 address without its brackets closed: write [::1]:5432")
    else:
        host, _, port = address.partition(":")
    keys: dict[str, object] = {}
    if host:
        keys.update(_one_host(_decode(host)))
    if port:
        keys["port"] = _port(port)
    return keys


def _port(port: str) -> int:
    if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65_535):
        raise DSNError(f"has a port that is not a number from 1 to 65535; {_ENCODE}")
    return int(port)


def _decode(text: str, *, plus: bool = False) -> str:
    try:
        decoded = (unquote_plus if plus else unquote)(text, errors="strict")
    except UnicodeDecodeError:
        decoded = "\0"
    if "\0" in decoded:
        raise DSNError("holds percent-encoded bytes that are not UTF-8 text")
    return decoded


def _keywords(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        key = _KEYWORD.match(text, position)
        if key is None:
            raise DSNError("is neither a URL nor key=value pairs; write host=... user=... or postgresql://...")
        value = _QUOTED.match(text, key.end()) or _BARE.match(text, key.end())
        if value is None or (value.end() < len(text) and not text[value.end()].isspace()):
            raise DSNError("has a quote that is not closed; put ' around the value, and write ' in it as \\'")
        if key[1] not in _LIBPQ:
            # It is not named: it may be the rest of a password with a blank in it.
            hint = did_you_mean(key[1], _LIBPQ)
            raise DSNError(f"has a key that libpq does not know{hint}; put ' around a value with blanks in it")
        pairs[key[1]] = re.sub(r"\\(.)", r"\1", value[1] or "", flags=re.DOTALL)
        position = value.end() + len(text[value.end() :]) - len(text[value.end() :].lstrip())
    if not pairs:
        raise DSNError("is empty")
    return pairs


def _target(engine: str, keys: dict[str, object], parameters: Mapping[str, str]) -> Target:
    target = Target({"engine": engine, **keys})
    tls: dict[str, object] = {}
    for key, value in parameters.items():
        if key in _FILES:
            tls[_FILES[key]] = value
        elif key in {"sslmode", "ssl-mode"}:
            tls["mode"] = _mode(value)
        elif key in _KEYS:
            target.keys.update(_KEYS[key](value) if value else {})
        else:
            _pass_over(key)
            target.ignored.append(key)
    if parameters.get("hostaddr"):
        _at_address(target.keys, tls, parameters["hostaddr"])
    if "ca" in tls:
        tls.setdefault("mode", "verify-ca")
    if tls:
        target.keys["tls"] = tls
    return target


def _at_address(keys: dict[str, object], tls: dict[str, object], address: str) -> None:
    """Connect to the address; the host, if there is one, is then the name that the certificate is checked for."""
    name = keys.get("host")
    keys.pop("socket", None)
    keys.update(_one_host(address))
    if name is not None and name != address:
        tls["server_name"] = name


def _pass_over(key: str) -> None:
    """Refuse a parameter that is a misspelt one of ours or speaks of encryption: without it we would do less unseen."""
    if key in _MEANT:
        return
    close = difflib.get_close_matches(key.lower(), sorted(_MEANT), 1, 0.8)
    if not close and ("ssl" in key.lower() or "tls" in key.lower()):
        close = ["sslmode"]
    if close:
        raise DSNError(f"has an unknown parameter; did you mean '{close[0]}'?")


def _mode(value: str) -> str:
    mode = _MODES.get(value.lower())
    if mode is None:
        raise DSNError("has an unknown sslmode; use disable, prefer, require, verify-ca or verify-full")
    return mode


def _one_host(value: str) -> dict[str, object]:
    if "," in value:
        raise DSNError("names several hosts; list each as a server of its own")
    return {"socket": value} if value.startswith("/") else {"host": value}


def _connect_timeout(value: str) -> dict[str, object]:
    if not (value.isascii() and value.isdecimal()):
        raise DSNError("has a connect_timeout that is not a number of seconds")
    # 0 asks for no limit, which a scrape cannot give.
    return {"timeouts": {"connect": int(value)}} if int(value) else {}


_KEYS: Mapping[str, Callable[[str], dict[str, object]]] = {
    "user": lambda value: {"user": value},
    "password": lambda value: {"password": Secret.text(value)},
    "dbname": lambda value: {"database": value},
    "application_name": lambda value: {"application_name": value},
    "host": _one_host,
    "hostaddr": lambda _: {},  # comes last, see _at_address
    "socket": lambda value: {"socket": value},
    "port": lambda value: {"port": _port(value)},
    "connect_timeout": _connect_timeout,
}
