"""What an import of tasks says: what is new, what changes and how, what is wrong where, and no secret."""

from msgspec.structs import replace

from domain.errors import TaskNotFound
from interfaces.task_files.files import accomplished, read_yaml, summary, told
from tests.support.declaring import declared, planned
from tests.support.given import TASK, after, definition, every
from tests.support.scheduler import REQUEST, World

FILE = read_yaml("tasks:\n- name: a\n  oops: 1\n- name: b\n", "UTC")


async def test_each_step_is_told_in_the_order_of_the_file_and_what_is_unchanged_is_counted(
    world: World,
) -> None:
    await world.create(name="changed", trigger=every(60), url="http://127.0.0.1/?old")
    await world.create(name="kept")
    ended = await world.create(name="gone")
    steps = await planned(
        world,
        declared(name="new"),
        declared(1, name="changed", trigger=every(90), url="http://127.0.0.1/?new", paused=True),
        declared(2, name="kept"),
        prune=True,
    )
    assert [line for step in steps for line in told(step, FILE)] == [
        "+ new",
        "~ changed",
        "    trigger.every_seconds: 60 -> 90",
        "    action.url differs",
        "    is paused",
        f"- gone ({ended}) is cancelled",
    ]
    assert summary(steps) == "1 to create, 1 to change, 1 to cancel, 1 unchanged"
    assert accomplished(steps) == "1 created, 1 changed, 1 cancelled"


async def test_headers_and_payloads_may_be_secret(world: World) -> None:
    stored = definition(name="a")
    old = replace(
        stored,
        action=replace(stored.action, payload={"token": "old"}, headers={"Authorization": "Basic old"}),
    )
    new = replace(stored, action=replace(stored.action, payload={"token": "new"}, headers={"X-Key": "new"}))
    await world.commands.create(old, REQUEST)
    assert summary(await planned(world, declared(wanted=old))) == "1 unchanged"
    [step] = await planned(world, declared(wanted=new))
    assert [*told(step, FILE)] == [
        "~ a",
        "    action.headers.Authorization differs",
        "    action.headers.X-Key differs",
        "    action.payload.token differs",
    ]


async def test_of_a_url_only_what_is_no_secret_is_told(world: World) -> None:
    await world.create(name="a", url="http://127.0.0.1/a?token=old")
    [step] = await planned(world, declared(name="a", url="http://127.0.0.1/b?token=new"))
    assert [*told(step, FILE)] == ["~ a", '    action.url: "http://127.0.0.1/a" -> "http://127.0.0.1/b"']


async def test_what_an_answer_has_to_hold_may_be_secret(world: World) -> None:
    stored = definition(name="a")
    await world.commands.create(stored, REQUEST)
    success = replace(stored.success, body_contains="s3cret")
    [step] = await planned(world, declared(wanted=replace(stored, success=success)))
    assert [*told(step, FILE)] == ["~ a", "    success.body_contains differs"]


async def test_what_is_wrong_is_told_with_all_its_places() -> None:
    steps = await planned(World(), *FILE.declarations)
    lines = [line for step in steps for line in told(step, FILE)]
    assert lines[0] == '! tasks[0] (line 2), "a":'
    assert any(line.startswith('    line 3, /oops: "oops" is not a field of a task') for line in lines)
    assert [line for line in lines if line.startswith("!")] == [lines[0], '! tasks[1] (line 4), "b":']
    assert summary(steps) == "2 wrong"
    [single] = await planned(World(), declared(wanted=TaskNotFound(TASK)))
    assert [*told(single, FILE)] == [f"! tasks[0]: There is no task {TASK}; check the id."]


async def test_what_is_there_on_one_side_only_is_told_as_nothing(world: World) -> None:
    await world.create(name="a")
    [step] = await planned(world, declared(name="a", trigger=every(60, end_at=after(1_000))))
    lines = [*told(step, FILE)]
    assert any(line.endswith("-> nothing") for line in lines)
    assert any("trigger.every_seconds: nothing -> 60" in line for line in lines)


def test_no_tasks_are_told_as_such() -> None:
    assert summary([]) == "no tasks"
