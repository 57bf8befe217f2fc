""".my.cnf as mysqld_exporter reads it: [client] is the server, any other section an account that may have its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.config import Config, ConfigError, Problem, ServerConfig, Web
from exporter.config.model import LeftAside
from exporter.config.resolve import resolve
from exporter.config.secrets import Secret
from exporter.switching import ini
from exporter.switching.flags import Given

DEFAULT_FILE = ".my.cnf"
PASSWORD = "MYSQLD_EXPORTER_PASSWORD"  # noqa: S105 - a variable's name
_ADDRESS_FLAG = "mysqld.address"
_WORDS = ("config.my-cnf", _ADDRESS_FLAG, "mysqld.username")
_ADDRESS = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*):(?P<port>\d*)")
_MODES = {
    **dict.fromkeys(("true", "1"), "verify-full"),
    "skip-verify": "require",
    **dict.fromkeys(("false", "0"), "disable"),
    # To fall back to plain text unseen is nothing that we do: as if nothing were said.
    **dict.fromkeys(("preferred", ""), None),
}
# As its library of files reads a yes; a key without a value is one.
_YES = ("1", "t", "true", "y", "yes", "on")
_PLACES = ("host", "port", "socket")
_DASHED = (
    *("ssl-ca", "ssl-cert", "ssl-key", "ssl-skip-verfication"),
    *("tls-server-name", "tls-min-version", "tls-max-version", "enable-cleartext-plugin"),
)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the file; what it does not say itself, [A] says for [A.B]."""

    name: str
    own: Mapping[str, str]
    every: Mapping[str, str]

    @property
    def of_client(self) -> bool:
        """Whether it is [client] or one below: flags and the variable speak for these alone."""
        return self.name.partition(".")[0] == "client"

    def user(self, given: Given) -> str | None:
        """The user that the section or a flag names."""
        return self.every.get("user") or (given.values.get("mysqld.username") if self.of_client else None)

    def says_where(self, given: Given, *, alone: bool) -> bool:
        """Whether it is a server, and no account for targets; if [client] is none, its place is that of those below.

        In a section of another name, as [mysqld], socket and port are no client's: it has to say host.
        """
        if self.name == "client":
            return True
        if not self.of_client:
            return "host" in self.every
        if alone and _ADDRESS_FLAG in given.values:
            return True
        return any(key in (self.every if alone else self.own) for key in _PLACES)


def is_named(given: Given) -> bool:
    """Whether a flag of mysqld_exporter names a server, or the file that does."""
    return any(word in given.values for word in _WORDS)


def is_there(env: Mapping[str, str]) -> bool:
    """Whether that exporter would find a server if nothing is said: its variable, or the file in this folder."""
    return bool(env.get(PASSWORD)) or Path(DEFAULT_FILE).is_file()


def from_my_cnf(given: Given, env: Mapping[str, str] | None = None) -> Config:
    """The servers that the flags and the file name, and that exporter's port.

    Raises:
        ConfigError: With everything that is wrong; no message repeats a password.
    """
    env = os.environ if env is None else env
    path = given.values.get("config.my-cnf", DEFAULT_FILE)
    sections = _sections(path, env)
    problems: list[Problem] = []
    warnings: list[str] = []
    servers: list[ServerConfig] = []
    aside: list[LeftAside] = []
    accounts = [section for section in sections if section.user(given)]
    if not accounts:
        problems.append(Problem(path, "says no user; add user= to [client], or give --mysqld.username"))
    alone = all(section.name != "client" for section in accounts)
    for section in sections:
        where = path if section.name == "client" else f"{path}, [{section.name}]"
        warnings += [
            f"{where}: {key} is ignored, as by mysqld_exporter, which knows {key.replace('_', '-')} alone"
            for key in section.own
            if "_" in key and key.replace("_", "-") in _DASHED
        ]
        if section not in accounts:
            if section.own:
                warnings.append(f"{where}: says no user, so it is left aside")
            continue
        if not section.says_where(given, alone=alone):
            warnings.append(
                f"{where}: an account for targets of /probe, which asks servers of the config only, so that nobody can "
                "make the exporter connect elsewhere: list them under servers: in a config file, or write host= here"
            )
            continue
        faults: list[Problem] = []
        server = _server(section, given, env, where, faults, warnings)
        if faults and section.name != "client" and len(accounts) > 1:
            # There it fails when it is asked for; it is no reason to be blind to the others.
            warnings += [f"{fault}; the section is left aside until that is mended" for fault in faults]
            aside.append(_left_aside(section, given, faults))
            continue
        problems += faults
        if server is not None and any(server.name == other.name for other in servers):
            warnings.append(f"{where}: names {server.name} a second time; the account above is the one in use")
        elif server is not None:
            servers.append(server)
    if problems:
        raise ConfigError(problems)
    web = Web(listen_addresses=(":9104",))
    return Config(servers=tuple(servers), web=web, warnings=tuple(warnings), left_aside=tuple(aside))


def _left_aside(section: Section, given: Given, faults: list[Problem]) -> LeftAside:
    """What is told to who asks for the server of a faulty section."""
    place: dict[str, Any] = {}
    _place(place, section.every, section, _address(section, given))
    if not isinstance(place.get("port"), int):
        place["port"] = None
    return LeftAside(section=section.name, fault="; ".join(map(str, faults)), **place)


def _sections(path: str, env: Mapping[str, str]) -> list[Section]:
    """The sections but DEFAULT, [client] first; a file that is not there says nothing, as there."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError):
        raise ConfigError([Problem("--config.my-cnf", f"{path} can't be read")]) from None
    try:
        found = {"client": {}, **ini.sections(text, env)}
    except ini.IniError as error:
        raise ConfigError([Problem(path, str(error))]) from None
    return [Section(name, own, ini.inherited(found, name)) for name, own in found.items()]


def _server(
    section: Section,
    given: Given,
    env: Mapping[str, str],
    where: str,
    problems: list[Problem],
    warnings: list[str],
) -> ServerConfig | None:
    said = section.every
    keys: dict[str, object] = {"engine": "mysql", "user": section.user(given)}
    if "password" in said:
        # An empty one is one: the variable does not count, as there.
        keys |= {"password": Secret.text(said["password"])} if said["password"] else {}
    elif section.of_client and env.get(PASSWORD):
        keys["password"] = Secret.from_env(PASSWORD, env)
    failure = _place(keys, said, section, _address(section, given))
    if failure:
        problems.append(Problem("--mysqld.address", failure))
        return None
    keys["tls"], failure = _tls(said, given)
    if failure:
        problems.append(Problem(where, f"tls in [{section.name}] {failure}"))
        return None
    if versions := sorted({"tls-min-version", "tls-max-version"} & said.keys()):
        warnings.append(f"{where}: {' and '.join(versions)} means nothing here; it is TLS 1.2 or newer, as both can")
    if said.get("enable-cleartext-plugin"):
        warnings.append(
            f"{where}: enable-cleartext-plugin means nothing here; who asks for the password in clear text is "
            "given it over TLS or a socket, and nowhere else"
        )
    resolved = resolve(keys, lambda at, message: problems.append(Problem(where, " ".join([*map(str, at), message]))))
    if resolved is None:
        return None
    server = resolved[0]
    if not keys["tls"] and server.tls.mode != "disable":
        before = "need not have been" if said.get("tls") else "was not"
        warnings.append(
            f"{where}: the connection to {server.name} is encrypted, which it {before}; tls=false in the section "
            "(tls.mode: disable in the config) is for a server that has no TLS"
        )
    return server


def _address(section: Section, given: Given) -> str:
    """Where the server is as far as the section does not say it."""
    return (given.values.get(_ADDRESS_FLAG) if section.of_client else None) or "localhost:3306"


def _place(keys: dict[str, object], said: Mapping[str, str], section: Section, address: str) -> str:
    """Fill in where the server is; gives what is wrong with the address."""
    if said.get("socket") and not (section.own.get("host") and "socket" not in section.own):
        keys["socket"] = said["socket"]
    elif address.startswith("unix://") and not said.get("host"):
        keys["socket"] = address.removeprefix("unix://")
    else:
        parts = _ADDRESS.fullmatch(address)
        if parts is None and not address.startswith("unix://"):
            return "must be host:port, or unix:// and the path of a socket"
        keys["host"] = said.get("host") or (parts and parts["host"].strip("[]")) or "localhost"
        port = said.get("port") or (parts and parts["port"]) or "3306"
        keys["port"] = int(port) if port.isdecimal() else port
    return ""


def _tls(said: Mapping[str, str], given: Given) -> tuple[dict[str, object], str]:
    """The keys of ours; and what is wrong with the word in tls, which counts where nothing else speaks of TLS."""
    skips = said.get("ssl-skip-verfication")
    if given.on("tls.insecure-skip-verify") if skips is None else skips.lower() in _YES:
        return {"mode": "require"}, ""
    # Each of these makes it look at the certificate.
    if any(said.get(key) for key in ("ssl-ca", "tls-server-name", "tls-min-version", "tls-max-version")):
        tls: dict[str, object] = {"mode": "verify-full"}
        if said.get("tls-server-name"):
            tls["server_name"] = said["tls-server-name"]
        if said.get("ssl-ca"):
            tls["ca"] = said["ssl-ca"]
            if said.get("ssl-cert") and said.get("ssl-key"):
                tls |= {"cert": said["ssl-cert"], "key": said["ssl-key"]}
        return tls, ""
    word = said.get("tls", "").lower()
    if word not in _MODES:
        # The word is not repeated: $NAME in the file may have put a secret there.
        wanted = "must be true (the certificate is checked), skip-verify, preferred or false"
        return {}, f"{wanted}; custom needs ssl-ca" if word == "custom" else wanted
    mode = _MODES[word]
    return ({"mode": mode} if mode else {}), ""
