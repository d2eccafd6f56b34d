"""Crontabs that are taken over: what curl and wget would have called, what is left out, and the names."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from domain.definition import Cron, Definition, OneOff
from interfaces.task_files.crontab import Crontab, read_crontab
from tests.support.given import NOON

FORM = "application/x-www-form-urlencoded"


def basic(credentials: str) -> str:
    return f"Basic {b64encode(credentials.encode()).decode()}"


def taken(text: str, *, system: bool = False) -> Crontab:
    return read_crontab(text, "UTC", system=system)


def tasks_of(text: str, *, system: bool = False) -> list[Definition]:
    """The tasks of a crontab of which nothing is left out."""
    found = taken(text, system=system)
    assert found.left_out == []
    wanted = [one.wanted for one in found.file.declarations]
    assert all(isinstance(one, Definition) for one in wanted), wanted
    return wanted  # type: ignore[return-value]


def call(command: str) -> dict[str, Any]:
    """The action of a command, without what is usual, and how often it is tried."""
    [task] = tasks_of(f"* * * * * {command}")
    [usual] = tasks_of("* * * * * curl a.example")
    action, plain = msgspec.to_builtins(task.action), msgspec.to_builtins(usual.action)
    differing: dict[str, Any] = {name: value for name, value in action.items() if value != plain[name]}
    return differing | ({"attempts": task.retry.max_attempts} if task.retry.max_attempts > 1 else {})


def why(line: str, *, system: bool = False) -> str:
    """Why a line is left out."""
    [left] = taken(line, system=system).left_out
    assert left.number == 1
    return left.why


def test_five_fields_are_the_schedule_and_the_rest_is_the_command() -> None:
    [task] = tasks_of("  */5  3 1,15 jan-mar\tmon curl http://a.example/b\n")
    assert isinstance(task.trigger, Cron)
    assert (task.trigger.cron, task.trigger.timezone) == ("*/5 3 1,15 jan-mar mon", "UTC")
    assert (task.name, task.action.url, task.action.method) == ("a.example/b", "http://a.example/b", "GET")
    assert task.retry.max_attempts == 1, "cron and curl call once"


@pytest.mark.parametrize(
    ("nickname", "cron"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@Annually", "0 0 1 1 *"),
    ],
)
def test_nicknames_are_schedules(nickname: str, cron: str) -> None:
    [task] = tasks_of(f"{nickname} curl a.example")
    assert getattr(task.trigger, "cron", "") == cron


def test_a_system_crontab_names_a_user_before_the_command() -> None:
    for line in ("0 1 * * * root curl a.example", "@daily www-data curl a.example"):
        [task] = tasks_of(line, system=True)
        assert task.action.url == "http://a.example"
    assert "too few fields" in why("0 1 * * * root", system=True)
    assert "if root is the user that runs it, add --system" in why("0 1 * * * root curl a.example")


def test_the_zone_is_the_cron_tz_of_the_lines_above() -> None:
    text = """
        * * * * * curl one.example
        CRON_TZ = "Europe/Berlin"
        MAILTO=me@a.example
        * * * * * curl two.example
        CRON_TZ=Asia/Tokyo
        * * * * * curl three.example
        CRON_TZ=
        # * * * * * curl four.example
        * * * * * curl five.example
    """
    assert [task.trigger.timezone for task in tasks_of(text)] == [
        *("UTC", "Europe/Berlin", "Asia/Tokyo", "UTC")
    ]
    assert taken(text).without_zone == 2


def test_tz_is_for_the_command_and_moves_no_schedule() -> None:
    found = taken("TZ=Europe/Berlin\n* * * * * curl a.example")
    assert [line.number for line in found.left_out] == [1]
    assert "only CRON_TZ does" in found.left_out[0].why
    [declared] = found.file.declarations
    assert isinstance(declared.wanted, Definition)
    assert declared.wanted.trigger.timezone == "UTC"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl -fsS -o /dev/null -w '%{http_code}' a.example".replace("%", r"\%"), {}),
        ("curl -sSL a.example", {"max_redirects": 10}),
        ("curl -L --max-redirs 3 a.example", {"max_redirects": 3}),
        ("curl --url https://b.example/?q=1", {"url": "https://b.example/?q=1"}),
        ("curl -m10 a.example", {"timeout_seconds": 10.0}),
        ("curl --max-time 2.5 --connect-timeout 9 a.example", {
            "timeout_seconds": 2.5, "connect_timeout_seconds": 2.5
        }),
        ("curl --connect-timeout 9 a.example", {"connect_timeout_seconds": 9.0}),
        ("curl --retry 4 a.example", {"attempts": 5}),
        ("curl -XDELETE a.example", {"method": "DELETE"}),
        ("curl -I a.example", {"method": "HEAD"}),
        ("curl -I -X get a.example", {}),
        ("curl -H 'X-A: 1' -H 'x-a: 2' -H 'Accept:' -H 'X-E;' a.example", {
            "headers": {"X-A": "1, 2", "X-E": ""}
        }),
        ("curl -A me/1 -e http://r.example -b 'a=1; b=2' a.example", {
            "headers": {"User-Agent": "me/1", "Referer": "http://r.example", "Cookie": "a=1; b=2"}
        }),
        ("curl -A me/1 -A me/2 -b a=1 -b b=2 a.example", {
            "headers": {"User-Agent": "me/2", "Cookie": "a=1; b=2"}
        }),
        ("curl -u me:p:w a.example", {"headers": {"Authorization": basic("me:p:w")}}),
        ("curl --oauth2-bearer T a.example", {"headers": {"Authorization": "Bearer T"}}),
        ("curl -d a=1 -d b=2 a.example", {
            "method": "POST", "payload": "a=1&b=2", "headers": {"Content-Type": FORM}
        }),
        ("curl -X PUT --data-raw @me a.example", {
            "method": "PUT", "payload": "@me", "headers": {"Content-Type": FORM}
        }),
        (r"curl --data-urlencode 'q=a b' --data-urlencode '=&c' --data-urlencode x/y a.example", {
            "method": "POST", "payload": "q=a+b&%26c&x%2Fy", "headers": {"Content-Type": FORM}
        }),
        ("curl -G -d a=1 -d b=2 'a.example/?c=3'", {"url": "http://a.example/?c=3&a=1&b=2"}),
        ("curl -G -d a=1 a.example", {"url": "http://a.example?a=1"}),
        ("curl -G -d a=1 'a.example/?c=3#d'", {"url": "http://a.example/?c=3&a=1#d"}),
        ("curl -g 'a.example/{x}'", {"url": "http://a.example/{x}"}),
        ("""curl --json '{"a": [1]}' a.example""", {
            "method": "POST",
            "payload": '{"a": [1]}',
            "headers": {"Content-Type": "application/json", "Accept": "application/json"},
        }),
        ("""curl --json '{"a":[1]}' a.example""", {
            "method": "POST",
            "payload": {"a": [1]},
            "headers": {"Content-Type": "application/json", "Accept": "application/json"},
        }),
        ("""curl -H 'content-type: application/json; charset=utf-8' -d '7' a.example""", {
            "method": "POST", "payload": "7", "headers": {"content-type": "application/json; charset=utf-8"}
        }),
        ("""curl -H 'Content-Type: application/json' -d '{' a.example""", {
            "method": "POST", "payload": "{", "headers": {"Content-Type": "application/json"}
        }),
        ("curl -d @- a.example%a=1%b=2", {
            "method": "POST", "payload": "a=1b=2", "headers": {"Content-Type": FORM}
        }),
        ("curl --data-binary @- a.example%a%b", {
            "method": "POST", "payload": "a\nb", "headers": {"Content-Type": FORM}
        }),
        ("/usr/bin/curl a.example >/dev/null 2>&1", {}),
        ("curl -o - -D/dev/null a.example 2> a.err", {}),
        ("curl a.example 1>> /var/log/a.log 2>&1", {}),
        ("curl a.example &>> a.log < /dev/null", {}),
        ("curl 'a.example/?a=1&b=2;c|d' || true", {"url": "http://a.example/?a=1&b=2;c|d"}),
        (r"curl 'a.example/?q=\%20'", {"url": "http://a.example/?q=%20"}),
        ("curl 'a.example/$x'", {"url": "http://a.example/$x"}),
        ("wget -q -O- a.example", {"max_redirects": 10}),
        ("wget -nv -O /dev/null --max-redirect=0 -T 5 -t 3 a.example", {
            "timeout_seconds": 5.0, "attempts": 3
        }),
        ("wget --spider --max-redirect=0 --connect-timeout=2 -U me a.example", {
            "method": "HEAD", "connect_timeout_seconds": 2.0, "headers": {"User-Agent": "me"}
        }),
        ("wget --max-redirect 0 -O- --method PUT --body-data x --header='Content-Type: a/b' a.example", {
            "method": "PUT", "payload": "x", "headers": {"Content-Type": "a/b"}
        }),
        ("wget --max-redirect=0 --delete-after --post-data 'a=1' --user me --password pw a.example", {
            "method": "POST",
            "payload": "a=1",
            "headers": {"Authorization": basic("me:pw"), "Content-Type": FORM},
        }),
    ],
)  # fmt: skip
def test_a_command_is_the_call_that_it_makes(command: str, expected: dict[str, Any]) -> None:
    expected.setdefault("url", "http://a.example")
    assert call(command) | {"url": tasks_of(f"* * * * * {command}")[0].action.url} == expected


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/usr/local/bin/backup", "it runs /usr/local/bin/backup"),
        ("curl a.example | mail me", "more than one command"),
        ("curl a.example && echo ok", "more than one command"),
        ("curl http://a.example/?a=1&b=2", "unquoted &"),
        ('curl "http://a.example/$(date)"', "begins with $"),
        ("curl http://a.example/`date`", "begins with `"),
        ("curl 'http://a.example", "quotes do not match"),
        ("curl", "names no URL"),
        (">/dev/null", "more than one command, or an unquoted >"),
        ("curl a.example b.example", "calls 2 URLs"),
        ("wget a.example b.example", "calls 2 URLs"),
        ("curl 'a.example/{x,y}'", "brackets"),
        ("curl -k https://a.example", "-k has no counterpart here: leave it out if the call"),
        ("curl --proxy p https://a.example", "--proxy has no counterpart here"),
        ("curl a.example -m", "-m is not told its value"),
        ("curl a.example --url", "--url is not told its value"),
        ("curl -m soon a.example", "--max-time soon is no number"),
        ("curl -m nan a.example", "--max-time nan is no number"),
        ("curl --retry inf a.example", "--retry inf is no number"),
        ("curl -L --max-redirs nan a.example", "--max-redirs nan is no number"),
        ("wget -O- -t inf a.example", "--tries inf is no number"),
        ("wget -O- http://[::1/x", "its URL cannot be read (Invalid IPv6 URL)"),
        ("curl -g http://[::1/x", "its URL cannot be read (Invalid IPv6 URL)"),
        ("curl -o a.json a.example", "--output writes to the file a.json"),
        ("curl -D a.txt a.example", "--dump-header writes to the file a.txt"),
        ("curl -O a.example/a.gz", "-O keeps the answer as a file"),
        ("curl a.example > /var/log/a.log", "writes to the file /var/log/a.log"),
        ("curl a.example 2>&1 >a.log", "writes to the file a.log"),
        ("curl a.example 1>a.log 2>/dev/null", "writes to the file a.log"),
        ("curl a.example &> a.log", "writes to the file a.log"),
        ("wget a.example/a.gz >/dev/null", "keeps the answer as a file"),
        ("wget -O a.gz a.example/a.gz", "--output-document writes to the file a.gz"),
        ("API_KEY=s3cret curl a.example", "it sets a variable (API_KEY), and"),
        ("curl -u me a.example", "ask for a password"),
        ("curl -d @file a.example", "data from the file file"),
        ("curl --data-urlencode n@file a.example", "data from the file file"),
        ("curl -H @file a.example", "headers from the file file"),
        ("curl -b jar a.example", "cookies from the file jar"),
    ],
)
def test_what_is_not_understood_is_left_out_with_the_reason(command: str, said: str) -> None:
    assert said in why(f"* * * * * {command}")


def test_lines_that_are_no_jobs_are_left_out_with_their_numbers() -> None:
    found = taken("# a\n\n@reboot curl a.example\n* * * curl\n@daily\n")
    assert [line.number for line in found.left_out] == [3, 4, 5]
    assert "@reboot is no schedule" in found.left_out[0].why
    assert "too few fields" in found.left_out[1].why


ONE = "0 1 * * * curl 'https://a.example/b?token=1'"
TWO = "0 2 * * * curl 'https://a.example/b?token=2'"


def names_of(*lines: str) -> list[str | None]:
    return [one.name for one in read_crontab("\n".join(lines), "UTC", system=False).file.declarations]


def test_names_are_those_of_the_urls_without_secrets() -> None:
    assert names_of(
        "0 1 * * * curl 'https://me:pw@a.example:8443/b/?token=1'",
        "0 3 * * * curl https://a.example:99999/b",
        "0 4 * * * curl https:///",
    ) == ["a.example:8443/b", "a.example/b", "https:///"]


def test_what_would_have_one_name_is_told_apart_by_the_call_and_not_by_the_other_lines() -> None:
    lines = [
        "0 1 * * * curl 'https://a.example/b?token=1'",
        "0 2 * * * curl 'https://a.example/b?token=2'",
        "0 3 * * * curl -X PUT https://a.example/b",
        "0 4 * * * curl -d x https://a.example/b",
        "0 5 * * * curl -H 'X-A: 1' https://a.example/b",
    ]
    names = names_of(*lines)
    assert len({*names}) == len(lines)
    assert all(str(name).startswith("a.example/b (") for name in names)
    assert names_of(*reversed(lines)) == names[::-1]
    assert names_of(*lines[1:]) == names[1:]
    assert names_of(lines[0].replace("0 1", "30 1"), *lines[1:]) == names, "another schedule, the same task"


def test_the_same_call_at_several_schedules_is_several_tasks() -> None:
    first, second = names_of("0 1 * * 1-5 curl a.example", "0 9 * * 6,7 curl a.example")
    assert first != second
    assert names_of("0 9 * * 6,7 curl a.example", "0 1 * * 1-5 curl a.example") == [second, first]


def declared(*lines: str) -> Sequence[Definition]:
    """What an import of a crontab leaves standing where nothing stood."""
    return tasks_of("\n".join(lines))


def beside(standing: Sequence[Definition], *lines: str) -> tuple[list[str | None], list[str]]:
    """The names of lines beside tasks that stand, and the names of those that stand for none of them."""
    found = read_crontab("\n".join(lines), "UTC", standing, system=False)
    return [one.name for one in found.file.declarations], found.left


def test_the_very_same_lines_are_numbered() -> None:
    first, second, third = names_of(ONE, ONE, ONE)
    assert str(first).startswith("a.example/b (")
    assert (second, third) == (f"{str(first)[:-1]}, 2)", f"{str(first)[:-1]}, 3)")


def test_a_line_keeps_its_name_when_one_beside_it_is_removed() -> None:
    for other in (TWO, ONE, ONE.replace("0 1", "0 9")):
        standing = declared(ONE, other)
        kept, gone = [task.name for task in standing]
        assert beside(standing, ONE) == ([kept], [gone])
        assert beside(standing[:1], ONE) == ([kept], [])


def test_a_line_keeps_its_name_when_one_is_put_beside_it() -> None:
    standing = declared(ONE)
    for other in (TWO, ONE, ONE.replace("0 1", "0 9")):
        for lines in ((ONE, other), (other, ONE)):
            names, left = beside(standing, *lines)
            assert names[lines.index(ONE)] == "a.example/b"
            assert len({*names}) == 2
            assert left == []


def test_a_line_with_another_schedule_keeps_its_name_beside_others() -> None:
    standing = declared(ONE, TWO)
    moved = ONE.replace("0 1", "30 1")
    assert beside(standing, TWO, moved) == ([standing[1].name, standing[0].name], [])


def test_of_several_lines_with_one_call_the_one_with_the_schedule_of_the_task_has_its_name() -> None:
    standing = declared("0 9 * * * curl a.example")
    names, _ = beside(standing, "0 1 * * * curl a.example", "0 9 * * * curl a.example")
    assert names[1] == "a.example"


def test_a_line_alone_whose_call_has_changed_changes_its_task() -> None:
    assert beside(declared(ONE), TWO) == (["a.example/b"], [])


def test_what_stands_for_no_line_any_more_is_told() -> None:
    standing = declared(ONE, TWO)
    changed = ONE.replace("token=1", "token=3")
    assert beside(standing, changed) == (["a.example/b"], sorted(task.name for task in standing))


def test_tasks_that_no_crontab_declares_are_left_alone() -> None:
    [task] = declared(ONE)
    for other in (replace(task, name="mine"), replace(task, trigger=OneOff(datetime=NOON))):
        assert beside([other], ONE, TWO) == (names_of(ONE, TWO), [])
