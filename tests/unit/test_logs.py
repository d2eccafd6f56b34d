import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import structlog

from domain.definition import Action
from infrastructure import logs
from infrastructure.logs import redact
from infrastructure.settings import load

type Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, quiet = (
        logging.getLogger(),
        [logging.getLogger(name) for name in ("uvicorn.access", "httpx", "psycopg.pool")],
    )
    before = root.level, list(root.handlers), [logger.level for logger in quiet]
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for logger, level in zip(quiet, before[2], strict=True):
        logger.setLevel(level)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    def read() -> list[dict[str, Any]]:
        out, err = capsys.readouterr()
        assert out == ""
        return [json.loads(line) for line in err.splitlines()]

    return read


def configure(**environ: str) -> None:
    logs.configure(load(environ), "scheduler")


def test_a_line_is_json_with_a_utc_instant_and_an_upper_case_level(lines: Lines) -> None:
    configure(APP_MODE="release")
    before = datetime.now(UTC)
    structlog.get_logger("a.b").warning("pool %s is empty", 3, waiting=2, task_id=UUID(int=1))
    (line,) = lines()
    assert list(line)[:5] == ["timestamp", "level", "event", "role", "logger"]
    assert line["timestamp"].endswith("Z")
    assert before <= datetime.fromisoformat(line.pop("timestamp")) <= datetime.now(UTC)
    assert line == {
        "level": "WARN",
        "event": "pool 3 is empty",
        "role": "scheduler",
        "logger": "a.b",
        "waiting": 2,
        "task_id": str(UUID(int=1)),
    }


def test_levels_are_the_four_of_the_specification(lines: Lines) -> None:
    configure(LOG_LEVEL="debug")
    log = structlog.get_logger()
    for say in (log.debug, log.info, log.warning, log.error, log.critical, logging.getLogger("x").critical):
        say("so")
    assert [line["level"] for line in lines()] == ["DEBUG", "INFO", "WARN", "ERROR", "ERROR", "ERROR"]


def test_what_is_below_the_level_is_not_logged_by_either(lines: Lines) -> None:
    configure(LOG_LEVEL="WARN")
    structlog.get_logger().info("quiet")
    logging.getLogger("asyncio").info("quiet")
    structlog.get_logger().warning("loud")
    logging.getLogger("asyncio").warning("loud")
    assert [line["event"] for line in lines()] == ["loud", "loud"]


def test_the_standard_librarys_loggers_come_out_the_same(lines: Lines) -> None:
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(sys.stderr))
    configure()
    logging.getLogger("uvicorn.error").warning("Started server process [%d]", 7, extra={"color_message": "x"})
    (line,) = lines()
    del line["timestamp"]
    assert line == {
        "level": "WARN",
        "event": "Started server process [7]",
        "role": "scheduler",
        "logger": "uvicorn.error",
    }


def test_python_warnings_are_logged(lines: Lines) -> None:
    configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", stacklevel=1)
    (line,) = lines()
    assert (line["level"], line["logger"]) == ("WARN", "py.warnings")
    assert "old" in line["event"]


def test_lines_that_hold_request_targets_are_not_logged(lines: Lines) -> None:
    configure(LOG_LEVEL="DEBUG")
    logging.getLogger("uvicorn.access").info('"GET /?token=secret HTTP/1.1" 200')
    logging.getLogger("httpx").info("HTTP Request: GET https://h/?token=secret")
    assert lines() == []


@pytest.mark.parametrize("level", ["DEBUG", "WARN", "ERROR"])
def test_the_pools_warnings_which_come_ten_times_a_second_are_not_logged(lines: Lines, level: str) -> None:
    configure(LOG_LEVEL=level)
    logging.getLogger("psycopg.pool").warning("error connecting in 'pool-1': connection failed")
    logging.getLogger("psycopg.pool").error("this one counts")
    assert [line["event"] for line in lines()] == ["this one counts"]


def test_bound_context_is_on_every_line(lines: Lines) -> None:
    configure()
    structlog.contextvars.bind_contextvars(correlation_id="c-1")
    structlog.get_logger().info("one")
    logging.getLogger("other").info("two")
    assert [line["correlation_id"] for line in lines()] == ["c-1", "c-1"]


def test_configuring_again_does_not_double_lines(lines: Lines) -> None:
    configure()
    configure()
    structlog.get_logger().info("once")
    assert len(lines()) == 1


def test_secrets_headers_and_payloads_are_masked_wherever_they_are(lines: Lines) -> None:
    configure()
    action = Action(method="POST", url="https://h/", headers={"X-Key": "hunter2"}, payload={"k": "hunter2"})
    structlog.get_logger().info(
        "connecting to postgresql://me:hunter2@db/x",
        password="hunter2",
        DB_PASSWORD="hunter2",
        dsn="host=db password=hunter2",
        headers=["hunter2"],
        response_headers={"set-cookie": "hunter2"},
        nested={"items": [{"Authorization": "Bearer hunter2"}], "payload": "hunter2", "n": 1},
        said="dbname=x password = 'hunter2 \\' hunter2' host=db",
        action=action,
        error=ValueError("sslpassword=hunter2"),
        request=type("Request", (), {"__repr__": lambda _: "hunter2"})(),
    )
    (line,) = lines()
    assert "hunter2" not in json.dumps(line)
    assert line["event"] == "connecting to postgresql://me:***@db/x"
    assert line["said"] == "dbname=x password = *** host=db"
    assert line["nested"] == {"items": [{"Authorization": "***"}], "payload": "***", "n": 1}
    assert line["action"]["url"] == "https://h/"
    assert line["request"] == "<Request>"


def test_tracebacks_are_one_line_of_json_without_passwords_and_variables(lines: Lines) -> None:
    configure()

    def connect(password: str) -> None:
        raise ConnectionError(f"no answer from postgresql://me:{password}@db")

    for say in (structlog.get_logger().exception, logging.getLogger("psycopg.pool").exception):
        try:
            connect("hunter2")
        except ConnectionError:
            say("cannot connect")
    for line in lines():
        assert line["level"] == "ERROR"
        assert "ConnectionError: no answer from postgresql://me:***@db" in line["exception"]
        assert "hunter2" not in line["exception"].replace('connect("hunter2")', "")


def test_whatever_is_logged_becomes_json(lines: Lines) -> None:
    configure()
    loop: dict[str, Any] = {}
    loop["self"] = loop
    structlog.get_logger().info(
        "odd", lone="\udc80", bytes=b"\xff", nan=float("nan"), keys={(1, 2): 3}, loop=loop
    )
    (line,) = lines()
    assert (line["lone"], line["bytes"], line["nan"], line["keys"]) == (
        "\udc80",
        "<bytes>",
        "nan",
        {"(1, 2)": 3},
    )


def test_a_terminal_in_debug_mode_gets_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure(APP_MODE="debug")
    structlog.get_logger().warning("careful", password="hunter2", count=2)
    text = capsys.readouterr().err
    assert "careful" in text
    assert "hunter2" not in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_a_terminal_in_release_mode_gets_json(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure(APP_MODE="release")
    structlog.get_logger().info("so")
    assert lines()[0]["event"] == "so"


@pytest.mark.parametrize("key", ["token", "api_key", "X-Api-Key", "Cookie", "DATABASE_URL", "request_body"])
def test_hidden_keys_are_found_in_any_spelling(key: str) -> None:
    assert redact({key: "x", "kept": "x"}) == {key: "***", "kept": "x"}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgres://me:hunter2@db", "postgres://me:***@db"),
        ("https://example.org:8080/a@b", "https://example.org:8080/a@b"),
        ("DB_PASSWORD=hunter2 next", "DB_PASSWORD=*** next"),
        ("{'password': 'hunter2', 'n': 1}", "{'password': ***, 'n': 1}"),
        ('{"password": "a\\"hunter2"}', '{"password": ***}'),
        ("Authorization: Bearer hunter2hunter2hunter2", "Authorization: Bearer ***"),
        ("password authentication failed for user x", "password authentication failed for user x"),
    ],
)
def test_secrets_are_found_in_texts(text: str, masked: str) -> None:
    assert redact(text) == masked


def test_a_hidden_key_that_holds_nothing_says_so() -> None:
    assert redact({"payload": None, "max_request_body_bytes": 10}) == {
        "payload": None,
        "max_request_body_bytes": 10,
    }
