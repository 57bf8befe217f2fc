"""Files as gopkg.in/ini.v1 reads them for mysqld_exporter: so a password is the same here as it is there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_SETTING = re.compile(r"([^=:]+?)\s*(?:[=:]\s*(.*))?")
# As Go's os.ExpandEnv: single signs and digits are names too, and of what is no name in braces the braces go.
_VARIABLE = re.compile(r"\$(?:\{([^}]+)\}|\{\}?|([*#$@!?\-0-9]|[A-Za-z_][A-Za-z0-9_]*))")
_REFERENCE = re.compile(r"%\(([^)]+)\)s")
_DEPTH = 20  # of references in references, which may be to each other
_QUOTES = ('"""', "`", '"')


def sections(text: str, env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What each section says itself, variables and references replaced, but for DEFAULT, which others may refer to."""
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
    lines = map(str.strip, text.split("\n"))
    for line in lines:
        if not line or line[0] in "#;!":
            continue
        if line[0] == "[" and "]" in line:
            current = found.setdefault(line[1 : line.rindex("]")].strip(), {})
        elif setting := _SETTING.fullmatch(line):
            current[setting[1]] = "true" if setting[2] is None else _value(setting[2], lines)
    return found


def _value(text: str, following: Iterator[str]) -> str:
    """A value without its quotes, and with the lines that it goes on in after a backslash."""
    quote = next((mark for mark in _QUOTES if text.startswith(mark) and text.find(mark, len(mark)) > 0), None)
    if quote:
        inside = text[len(quote) : text.rindex(quote)]
        return inside.replace('\\"', '"') if quote == '"' else inside
    if text.endswith("\\"):
        while text.endswith("\\") and (more := next(following, "")):
            text = text[:-1] + more
        return text.removesuffix("\\")
    # One that has another of its quotes inside keeps them all.
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" and text.count("'") == 2 else text
