"""Names of the tasks of a crontab: told apart by their calls, and kept whatever becomes of other lines."""

from collections.abc import Sequence

from msgspec.structs import replace

from domain.definition import Definition, OneOff
from interfaces.task_files.crontab import read_crontab
from tests.support.given import NOON

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


def tasks_of(*lines: str) -> Sequence[Definition]:
    """What an import of a crontab leaves standing where nothing stood."""
    wanted = [one.wanted for one in read_crontab("\n".join(lines), "UTC", system=False).file.declarations]
    return [one for one in wanted if isinstance(one, Definition)]


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
        standing = tasks_of(ONE, other)
        kept, gone = [task.name for task in standing]
        assert beside(standing, ONE) == ([kept], [gone])
        assert beside(standing[:1], ONE) == ([kept], [])


def test_a_line_keeps_its_name_when_one_is_put_beside_it() -> None:
    standing = tasks_of(ONE)
    for other in (TWO, ONE, ONE.replace("0 1", "0 9")):
        for lines in ((ONE, other), (other, ONE)):
            names, left = beside(standing, *lines)
            assert names[lines.index(ONE)] == "a.example/b"
            assert len({*names}) == 2
            assert left == []


def test_a_line_with_another_schedule_keeps_its_name_beside_others() -> None:
    standing = tasks_of(ONE, TWO)
    moved = ONE.replace("0 1", "30 1")
    assert beside(standing, TWO, moved) == ([standing[1].name, standing[0].name], [])


def test_of_several_lines_with_one_call_the_one_with_the_schedule_of_the_task_has_its_name() -> None:
    standing = tasks_of("0 9 * * * curl a.example")
    names, _ = beside(standing, "0 1 * * * curl a.example", "0 9 * * * curl a.example")
    assert names[1] == "a.example"


def test_a_line_alone_whose_call_has_changed_changes_its_task() -> None:
    assert beside(tasks_of(ONE), TWO) == (["a.example/b"], [])


def test_what_stands_for_no_line_any_more_is_told() -> None:
    standing = tasks_of(ONE, TWO)
    changed = ONE.replace("token=1", "token=3")
    assert beside(standing, changed) == (["a.example/b"], sorted(task.name for task in standing))


def test_tasks_that_no_crontab_declares_are_left_alone() -> None:
    [task] = tasks_of(ONE)
    for other in (replace(task, name="mine"), replace(task, trigger=OneOff(datetime=NOON))):
        assert beside([other], ONE, TWO) == (names_of(ONE, TWO), [])
