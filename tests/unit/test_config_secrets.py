"""Secrets: nothing prints them, and a rotated one is read anew."""

import copy
import json
import logging
import pickle
from pathlib import Path

import pytest
from rich.pretty import pretty_repr

from exporter.config import Secret, SecretError, ServerConfig
from exporter.config.secrets import read_secret_file

CANARY = "canary-7Q!x"


def test_nothing_prints_it(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret.text(CANARY)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("exporter").error("secret %s %r", secret, {"password": secret})
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>9}", f"{secret!r}", "%s" % secret, caplog.text]  # noqa: UP031
    shown += [str([secret]), pretty_repr({"a": secret}), str(vars(logging.makeLogRecord({"p": secret})))]
    assert not [text for text in shown if CANARY in text or "***" not in text]


@pytest.mark.parametrize("give_out", [pickle.dumps, json.dumps, lambda s: "x" + s, len, iter, bytes, vars])
def test_no_other_way_gives_it_out(give_out: object) -> None:
    with pytest.raises(TypeError) as caught:
        give_out(Secret.text(CANARY))  # type: ignore[operator]
    assert CANARY not in str(caught.value)


def test_dumps_of_a_server_show_none() -> None:
    server = ServerConfig(name="a", engine="mysql", host="h", port=3306, password=Secret.text(CANARY))
    assert json.loads(server.model_dump_json())["password"] == "***"
    assert json.loads(json.dumps(server.model_dump(mode="json")))["password"] == "***"
    for shown in (str(server.model_dump()), repr(server), repr(copy.deepcopy(server)), str(server.__dict__)):
        assert CANARY not in shown
    again = ServerConfig.model_validate(server.model_dump())
    assert again.password is not None
    assert again.password.reveal() == CANARY


def test_a_file_is_read_anew_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "password"
    secret = Secret.from_file(file)
    for content, expected in (("one\n", "one"), (" two \r\n", " two "), ("\ufeffthree", "three"), ("a\nb\n\n", "a\nb")):
        file.write_bytes(content.encode())
        assert secret.reveal() == expected
    file.unlink()
    with pytest.raises(SecretError, match=r"there is no file .*password; create it or correct the path"):
        secret.reveal()


def test_a_variable_is_read_anew() -> None:
    env = {"PW": "one"}
    secret = Secret.from_env("PW", env)
    env["PW"] = "two"
    assert secret.reveal() == "two"
    del env["PW"]
    with pytest.raises(SecretError, match=r"^the environment variable PW is not set; set it for this process$"):
        secret.reveal()


def test_a_file_that_holds_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "f"
    for content, expected in ((CANARY.encode() * 10_000, "more than 65536"), (CANARY.encode() + b"\xff", "not UTF-8")):
        file.write_bytes(content)
        with pytest.raises(SecretError, match=expected) as caught:
            read_secret_file(file)
        assert CANARY not in str(caught.value)
        assert caught.value.__context__ is None


def test_equal_if_from_the_same_place(tmp_path: Path) -> None:
    assert Secret.text("a") == Secret.text("a")
    assert hash(Secret.text("a")) == hash(Secret.text("a"))
    assert Secret.text("a") != Secret.text("b")
    assert Secret.from_env("A") == Secret.from_env("A")
    assert Secret.from_env("A") != Secret.from_file("A")
    assert Secret.from_env("A") != Secret.text("A")
    assert Secret.text("a") != "a"
