"""Files as mysqld_exporter reads them; that the real one does, tests/servers/test_switching_mysqld_peer.py shows."""

from __future__ import annotations

import re

import pytest

from exporter.switching import ini

ENV = {"SECRET": "sec", "a-b": "dash", "REFERS": "%(other)s", "word": "no"}
# Before each of PASSWORDS, and after each.
BEFORE = """early = E
[DEFAULT]
in-default = D
[client] # a note
user = nobody
password = above
other = OTH
two words = TW
chain = c%(other)sc
of-env = $SECRET
"""
AFTER = "\nown = OWN\n"
# What the file says, and the password that it is.
PASSWORDS = {
    "a%(user)sb": "a{user}b",
    "%(other)s%(own)s%(other)s%(two words)s": "OTHOWNOTHTW",
    "%(chain)s%(of-env)s": "cOTHc$SECRET",
    "%(in-default)s%(early)s": "DE",
    "%(other)s%(none)s%(own)s": "OTH%(none)s%(own)s",
    "x%(password)s": "x%(password)s",
    "100%%(other)d%()s": "100%%(other)d%()s",
    '"%(other)s"': "OTH",
    "$SECRET${SECRET}$REFERS": "secsecOTH",
    "pa$$word$-$1x": "pawordx",
    "${a-b}${no such}a${}b${c": "dashabc",
    "$) $é$": "$) $é$",
    '"a\\"b"c" # a note': 'a"b"c',
    "`a'b`c": "a'b",
    "'a'b'": "'a'b'",
    "'a\"b'": 'a"b',
    '"""a"b"""': 'a"b',
    "a\\\n b": "ab",
    "a # b ; c": "a # b ; c",
    '"""a"b \n  c # d\n[e]\nf"""g"""h': 'a"b \n  c # d\n[e]\nf"""g',
    "`a \nuser = b\n`": "a \nuser = b\n",
    '"a\\"\nb"': "a\\",
    '"a\n\\"b" # a note': 'a\n\\"b',
    '"""\na"""': "\na",
}


@pytest.mark.parametrize(("said", "password"), PASSWORDS.items())
def test_passwords(said: str, password: str) -> None:
    found = ini.sections(f"{BEFORE}[client.one]\nuser = ann\npassword = {said}{AFTER}", ENV)
    assert list(found) == ["client", "client.one"]
    assert found["client.one"]["password"] == password.replace("{user}", "ann")
    assert found["client.one"]["own"] == "OWN"
    assert ini.inherited(found, "client.one")["chain"] == "cOTHc"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('password = """canary-77x1', "quote"),
        ("password = `canary-77x1", "quote"),
        ('password = "canary-77x1', "quote"),
        ('"password = canary-77x1', "quote"),
        ("[canary-77x1", "]"),
    ],
)
def test_what_nothing_closes_is_a_fault(line: str, said: str) -> None:
    with pytest.raises(ini.IniError, match=f"line 3: .*{re.escape(said)}") as failed:
        ini.sections(f"[client]\nuser = ann\n{line}\nport = 1\n", {})
    assert "canary" not in str(failed.value)


def test_keys_in_quotes() -> None:
    text = '[client]\n"password" = "a=b"\n`user`:ann\n"""po"rt""" = 1\n"a=b" = c\n'
    assert ini.sections(text, {})["client"] == {"password": "a=b", "user": "ann", 'po"rt': "1", "a=b": "c"}


def test_references_to_each_other_end() -> None:
    found = ini.sections("[client]\na = %(b)s\nb = %(a)s\n", {})
    assert set(found["client"].values()) <= {"%(a)s", "%(b)s"}
