"""Files as gopkg.in/ini.v1 reads them for mysqld_exporter: so a password is the same here as it is there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_SETTING = re.compile(r"(?P<key>[^=:]+?)\s*(?:[=:]\s*(?P<value>.*))?")
_QUOTED_KEY = re.compile(r'(?P<quote>"""|"|`)(?P<key>.+?)(?P=quote)[^=:]*[=:]\s*(?P<value>.*)')
# As Go's os.ExpandEnv: single signs and digits are names too, and of what is no name in braces the braces go.
_VARIABLE = re.compile(r"\$(?:\{([^}]+)\}|\{\}?|([*#$@!?\-0-9]|[A-Za-z_][A-Za-z0-9_]*))")
_REFERENCE = re.compile(r"%\(([^)]+)\)s")
_DEPTH = 20  # of references in references, which may be to each other
_QUOTES = ('"""', "`", '"')


class IniError(ValueError):
    """The file can't be read, nor does theirs read it; the message repeats nothing of it."""


def sections(text: str, env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What each section says itself, variables and references replaced, but for DEFAULT, which others may refer to.

    Raises:
        IniError: A quote or the name of a section is opened that nothing closes.
    """
    raw = _raw(text)
    default = raw.setdefault("DEFAULT", {})

    def worth(section: Mapping[str, str], key: str, value: str) -> str:
        value = _VARIABLE.sub(lambda found: env.get(found[1] or found[2] or "", ""), value)
        for _ in range(_DEPTH):
            reference = _REFERENCE.search(value)
            if reference is None:
                break
            name = reference[1]
            meant = section.get(name) if name != key else None
            meant = default.get(name) if meant is None else meant
            if meant is None:
                break
            value = value.replace(reference[0], meant)
        return value

    return {
        name: {key: worth(inherited(raw, name), key, value) for key, value in own.items()}
        for name, own in raw.items()
        if name != "DEFAULT"
    }


def inherited(found: Mapping[str, Mapping[str, str]], name: str) -> dict[str, str]:
    """What a section says with what those above it say: [A.B.C] has what [A] and [A.B] have."""
    above = name.rpartition(".")[0]
    return {**(inherited(found, above) if above else {}), **found.get(name, {})}


def _raw(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    current = found.setdefault("DEFAULT", {})
    lines = enumerate(text.split("\n"), 1)
    for number, whole in lines:
        line = whole.strip()
        if not line or line[0] in "#;!":
            continue
        if line[0] == "[":
            if "]" not in line:
                raise IniError(f"line {number}: there is no ] behind the name of the section")
            current = found.setdefault(line[1 : line.rindex("]")].strip(), {})
        elif (quote := _quote(line)) and quote not in line[len(quote) :]:
            raise _unclosed(number)
        elif setting := _QUOTED_KEY.fullmatch(line) or _SETTING.fullmatch(line):
            # What goes on in the next line has the blanks at the end of this one.
            value = None if setting["value"] is None else whole.lstrip()[setting.start("value") :]
            try:
                current[setting["key"].strip()] = "true" if value is None else _value(value, lines)
            except EOFError:
                raise _unclosed(number) from None
    return found


def _quote(text: str) -> str:
    """The quote that a text begins with, or nothing."""
    return next((mark for mark in _QUOTES if text.startswith(mark)), "")


def _unclosed(number: int) -> IniError:
    return IniError(f"line {number}: a quote is opened here that nothing closes; put the whole in other quotes")


def _value(whole: str, following: Iterator[tuple[int, str]]) -> str:
    """A value without its quotes, and with the lines that it goes on in: within quotes, or after a backslash.

    Raises:
        EOFError: Its quote is not closed.
    """
    text = whole.strip()
    if quote := _quote(text):
        start = len(quote)
        if quote not in text[start:]:
            return _on(whole[start:], quote, following)
        inside = text[start : text.rindex(quote)]
        return inside.replace('\\"', '"') if quote == '"' else inside
    if text.endswith("\\"):
        while text.endswith("\\") and (more := next(following, (0, ""))[1].strip()):
            text = text[:-1] + more
        return text.removesuffix("\\")
    # One that has another of its quotes inside keeps them all.
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" and text.count("'") == 2 else text


def _on(begun: str, quote: str, following: Iterator[tuple[int, str]]) -> str:
    """What stands in quotes over several lines, up to the last quote of the first line that has one."""
    for _, line in following:
        begun += "\n"
        if quote in line:
            return begun + line[: line.rindex(quote)]
        begun += line
    raise EOFError
