"""postgres_exporter.yml: accounts for targets that Prometheus names. Here the config names the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from exporter.config.document import Document, Location, read_document
from exporter.config.dsn import DSNError, parse_url
from exporter.config.errors import read_failure
from exporter.config.secrets import Secret
from exporter.config.sentences import unknown

FILE_NAME = "postgres_exporter.yml"
_MODULE = ("type", "userpass", "options")
_ACCOUNT = ("username", "password")
# Theirs takes 0123 and yes for text.
_AS_WRITTEN = frozenset(_ACCOUNT)


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the file says.

    Attributes:
        modules: By the name of each auth_module the keys that a server of ours would have.
        warnings: What is wrong with it. Like there, that keeps nobody from starting.
    """

    modules: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_accounts(path: str, env: Mapping[str, str]) -> Accounts | None:
    """Read a file that may be postgres_exporter's; None if it is not, and so is to be a config of ours."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return Accounts(warnings=(read_failure(error, path),)) if Path(path).name == FILE_NAME else None
    document = read_document(text, path, Path(path).parent, env, _AS_WRITTEN)
    data = document.data
    if data is None and not document.problems and Path(path).name == FILE_NAME:
        return Accounts()
    if not isinstance(data, dict) or "auth_modules" not in data or "servers" in data:
        return None
    _known(document, data, ("auth_modules",))
    listed = data["auth_modules"] or {}
    modules: dict[str, Mapping[str, object]] = {}
    if not isinstance(listed, dict):
        document.report(("auth_modules",), "must be a mapping of names to accounts")
        listed = {}
    for name, module in listed.items():
        keys = _module(document, name, module)
        if keys is not None:
            modules[name] = keys
    return Accounts(modules, tuple(map(str, document.problems)))


def _known(document: Document, mapping: Mapping[str, object], keys: tuple[str, ...], *at: str) -> None:
    for key in mapping:
        if key not in keys:
            document.report((*at, key), unknown("key", str(key), keys), at_key=True)


def _module(document: Document, name: str, module: object) -> dict[str, object] | None:
    here = ("auth_modules", name)
    if not isinstance(module, dict):
        document.report(here, "must be a mapping with type and userpass")
        return None
    _known(document, module, _MODULE, *here)
    if module.get("type") != "userpass":
        document.report((*here, "type"), "must be userpass, the only type there is")
        return None
    account = module.get("userpass") or {}
    if not isinstance(account, dict):
        document.report((*here, "userpass"), "must be a mapping with username and password")
        return None
    _known(document, account, _ACCOUNT, *here, "userpass")
    keys = _options(document, module.get("options"), (*here, "options"))
    for ours, theirs in (("user", "username"), ("password", "password")):
        said = account.get(theirs)
        if isinstance(said, Secret):
            if ours in keys:
                document.report((*here, "options", ours), f"the {theirs} of userpass counts; remove this one")
            keys[ours] = said.reveal() if ours == "user" else said
        elif theirs in account and (*here, "userpass", theirs) not in document.unsound:
            document.report((*here, "userpass", theirs), "is empty, so there is none; put it in quotes if it is a word")
    return keys


def _options(document: Document, options: object, here: Location) -> dict[str, object]:
    """The parameters of the connection that can be used; each of the others is reported, and takes none with it."""
    if options is None:
        return {}
    if not isinstance(options, dict):
        document.report(here, "must be a mapping of parameters to values")
        return {}
    good: list[str] = []
    for key, value in options.items():
        at = (*here, key)
        if isinstance(value, dict | list):
            document.report(at, "must be a single value")
            continue
        parameter = f"{quote(str(key), safe='')}={quote(_text(value), safe='')}"
        try:
            ignored = parse_url(f"postgresql://?{parameter}").ignored
        except DSNError as error:
            document.report(at, str(error))
            continue
        if ignored:
            document.report(at, "means nothing here", at_key=True)
        else:
            good.append(parameter)
    return {key: value for key, value in parse_url(f"postgresql://?{'&'.join(good)}").keys.items() if key != "engine"}


def _text(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    return "" if value is None else str(value)
