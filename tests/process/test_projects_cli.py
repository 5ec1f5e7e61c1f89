"""Projects on the command line: demo data, files, and what operators do."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg
import pytest

from rowlock.services import SERVICES
from tests.support.contract import bearer
from tests.support.polling import until
from tests.support.processes import Service, doctor, free_port, rowlock

USERS = [
    {"id": 7, "email": "zoe@example.com", "username": "zoe", "created_at": "2023-01-01T00:00:00Z"},
    {"id": 2, "email": "yan@example.com", "username": "yan", "created_at": "2023-02-01 10:00:00"},
]
PROJECTS = [
    {"id": 40, "name": "Zebra", "url": "https://z.example", "user_id": 7, "app_secret": "z-secret",
     "created_at": "2023-03-01T00:00:00+02:00"},
    {"id": 12, "name": "Yak", "url": None, "user_id": 2, "app_secret": "y-secret",
     "created_at": "2023-03-02T00:00:00.123Z"},
]  # fmt: skip


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def write(folder: Path, users: object = USERS, projects: object = PROJECTS) -> list[str]:
    """Write the two files; return the arguments that load them."""
    arguments = []
    for name, rows in (("users", users), ("projects", projects)):
        path = folder / f"{name}.json"
        path.write_bytes(rows if isinstance(rows, bytes) else orjson.dumps(rows))
        arguments += [f"--{name}-file", str(path)]
    return arguments


async def test_seed__demo__twenty_projects_with_a_history(
    database_url: str, events_database_url: str
) -> None:
    counts = (
        "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM projects), "
        "(SELECT count(*) FROM deployments), (SELECT count(*) FROM outbox)"
    )
    status, output = await rowlock("seed", database_url=database_url)
    assert status == 0, output
    [first] = query(database_url, counts)
    assert first[:2] == (4, 20)
    assert first[2] > 500
    assert (await rowlock("seed", database_url=database_url))[0] == 0
    assert query(database_url, counts) == [first]
    # A project has a URL if and only if a deployment of it is done, and nothing is of the future.
    assert query(
        database_url,
        "SELECT projects.id FROM projects LEFT JOIN deployments ON project_id = projects.id "
        "GROUP BY projects.id "
        "HAVING (url IS NOT NULL) <> coalesce(bool_or(status = 'done'), false) "
        "OR max(coalesce(ended_at, deployments.created_at)) > now() "
        "OR min(deployments.created_at) < min(projects.created_at)",
    ) == []  # fmt: skip
    assert {row[0] for row in query(database_url, "SELECT DISTINCT status FROM deployments")} == {
        "pending", "building", "deploying", "done", "failed", "cancelled",
    }  # fmt: skip
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    assert (await doctor(**urls))[0] == 0


async def test_seed__files__ids_kept_and_running_again_changes_nothing(
    database_url: str, tmp_path: Path
) -> None:
    arguments = write(tmp_path)
    status, output = await rowlock("seed", *arguments, database_url=database_url)
    assert (status, output) == (0, "New: 2 users, 2 projects.\n")
    tables = "SELECT * FROM users ORDER BY id", "SELECT * FROM projects ORDER BY id"
    before = [query(database_url, table) for table in tables]
    assert [row[:3] for row in before[0]] == [
        (2, "yan", "yan@example.com"),
        (7, "zoe", "zoe@example.com"),
    ]
    # The list's order is that of the ids, not of the file.
    assert [row[:6] for row in before[1]] == [
        (12, 1, "Yak", None, 2, "y-secret"),
        (40, 2, "Zebra", "https://z.example", 7, "z-secret"),
    ]
    events = query(database_url, "SELECT name, subject FROM outbox ORDER BY position")
    assert events == [
        ("user.created", "user:7"),
        ("user.created", "user:2"),
        ("project.created", "project:12"),
        ("project.created", "project:40"),
    ]
    status, output = await rowlock("seed", *arguments, database_url=database_url)
    assert (status, output) == (0, "New: 0 users, 0 projects.\n")
    assert [query(database_url, table) for table in tables] == before
    # New rows get ids beyond those loaded.
    status, output = await rowlock(
        "projects", "create", "New [bold] one", "--owner", "zoe", database_url=database_url
    )
    assert status == 0, output
    assert output.startswith("Project 41 created.")
    assert query(database_url, "SELECT nextval('users_id_seq')") == [(8,)]


@pytest.fixture
def loaded_database_url(database_url: str) -> str:
    """A database with the user ada and her project 3."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO users (id, username) VALUES (1, 'ada')")
        connection.execute(
            "INSERT INTO projects (id, position, name, user_id, app_secret) "
            "VALUES (3, 1, 'Shop', 1, 'secret')"
        )
        connection.execute("SELECT setval('projects_id_seq', 3)")
    return database_url


async def test_seed__bad_row__its_line_and_nothing_loaded(
    loaded_database_url: str, tmp_path: Path
) -> None:
    unknown_owner = [PROJECTS[0], PROJECTS[1] | {"user_id": 9}]
    for rows, message in (
        ([PROJECTS[0], PROJECTS[1] | {"name": 5}], "name: Not a valid string."),
        (unknown_owner, "user_id: there is no such user"),
    ):
        arguments = write(tmp_path, projects=rows)
        status, output = await rowlock("seed", *arguments, database_url=loaded_database_url)
        path = tmp_path / "projects.json"
        assert (status, output.splitlines()) == (1, [
            f"rowlock: nothing was changed: {path} has 1 problem.",
            f"{path}, item 2 (line 1): {message}",
        ])  # fmt: skip
        assert query(loaded_database_url, "SELECT id FROM users") == [(1,)]
        assert query(loaded_database_url, "SELECT id FROM projects") == [(3,)]
    status, output = await rowlock("seed", "--users-file", str(tmp_path / "none.json"))
    assert (status, output.strip()) == (
        1, f"rowlock: {tmp_path}/none.json can't be read: No such file or directory.",
    )  # fmt: skip


async def test_projects__create_and_rotate__secret_shown_once_and_valid(
    loaded_database_url: str,
) -> None:
    async def run(*arguments: str) -> list[str]:
        status, output = await rowlock("projects", *arguments, database_url=loaded_database_url)
        assert status == 0, output
        return output.splitlines()

    [message, secret] = await run("rotate-secret", "3")
    assert message == "Secret of project 3 replaced. This secret is not shown again:"
    assert query(loaded_database_url, "SELECT app_secret FROM projects") == [(secret,)]
    [message, other] = await run("create", "Café", "--owner", "ada")
    assert message == "Project 4 created. This secret is not shown again:"
    assert secret != other
    assert query(
        loaded_database_url, "SELECT name, user_id, position FROM projects WHERE id = 4"
    ) == [("Café", 1, 2)]
    outbox = query(loaded_database_url, "SELECT name, subject, payload::text FROM outbox")
    assert [row[:2] for row in outbox] == [
        ("project.secret_rotated", "project:3"),
        ("project.created", "project:4"),
    ]
    assert not any(text in str(outbox) for text in (secret, other))


@pytest.mark.parametrize(
    ("arguments", "hours"),
    [((), 24), (("--overlap", "2d"), 48), (("--overlap", "0"), None), (("--now",), None)],
)
async def test_rotate__overlap__as_long_as_it_says(
    loaded_database_url: str, arguments: tuple[str, ...], hours: int | None
) -> None:
    status, output = await rowlock(
        "projects", "rotate-secret", "3", *arguments, database_url=loaded_database_url
    )
    assert status == 0, output
    [[left]] = query(
        loaded_database_url,
        "SELECT round(extract(epoch FROM previous_secret_until - now()) / 3600) FROM projects",
    )
    assert left == hours


@pytest.mark.parametrize("data", ["demo", "files"])
async def test_commands__whatever_they_write__events_and_entries_are_by_cli(
    database_url: str, tmp_path: Path, data: str
) -> None:
    users = [user | {"balance": 500} for user in USERS]
    files = write(tmp_path, users) if data == "files" else []
    owner = "zoe" if data == "files" else "ada"
    for command in (
        ["seed", *files],
        ["projects", "create", "New", "--owner", owner],
        ["projects", "rotate-secret", "12"],
    ):
        status, output = await rowlock(*command, database_url=database_url)
        assert status == 0, output
    events = query(database_url, "SELECT DISTINCT name, actor FROM outbox")
    assert {actor for _, actor in events} == {"cli"}
    assert {name for name, _ in events} >= {
        "user.created", "project.created", "project.secret_rotated",
    }  # fmt: skip
    entries = query(database_url, "SELECT DISTINCT reason, actor FROM ledger_entries")
    assert {actor for _, actor in entries} == {"cli"}


async def test_projects__wrong__one_line_and_status_1(loaded_database_url: str) -> None:
    cases = (
        (["rotate-secret", "9"], "There is no project 9."),
        (["rotate-secret", "3", "--overlap", "x"], "'x' is no length of time"),
        (["rotate-secret", "3", "--overlap", "1h", "--now"], "can't be combined"),
        (["create", "x", "--owner", "nobody"], "There is no user 'nobody'."),
        (["create", "a\nb", "--owner", "ada"], "A name has 1 to 200 characters"),
    )
    results = await asyncio.gather(
        *(rowlock("projects", *wrong, database_url=loaded_database_url) for wrong, _ in cases)
    )
    for (status, output), (_, message) in zip(results, cases, strict=True):
        assert (status, output.splitlines()) == (1, [output.strip()])
        assert message in output


async def test_serve__all__projects_by_its_token_and_files_before_the_first_start(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "data"
    status, output = await rowlock("seed", *write(tmp_path), data_dir=data_dir)
    assert status == 0, output
    port = free_port()
    # The demo data does not come on top, with or without --no-demo.
    async with (
        Service(data_dir=data_dir, projects_port=port) as service,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        assert f"projects listens on http://127.0.0.1:{port}" in service.printed
        assert "Bearer development-projects-token" in service.printed
        async with session.get("/projects") as response:
            assert response.status == 401
        async with session.get(
            "/projects", headers=bearer("development-projects-token")
        ) as response:
            assert [project["name"] for project in await response.json()] == ["Yak", "Zebra"]
        async with session.get(f"{service.url}/api/products") as response:
            assert await response.json() == {"products": []}
        async with session.post(
            "/projects/12/deployment", headers=bearer("development-projects-token")
        ) as response:
            assert response.status == 201
        report = {"id": 1, "status": "done"}
        async with session.post(
            "/deployment/webhook", json=report, headers={"authorization": "y-secret"}
        ) as response:
            assert response.status == 200
        assert "y-secret" not in service.printed


async def test_serve__no_demo__empty_until_files_are_loaded_meanwhile(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with Service("commerce", "--no-demo", data_dir=data_dir) as service:
        users = [{**USERS[0], "id": 1, "first_name": "Zoë", "last_name": "Zimmer", "balance": 1234}]
        arguments = write(tmp_path, users=users, projects=[])
        status, output = await rowlock("seed", *arguments, data_dir=data_dir)
        assert (status, output) == (0, "New: 1 users, 0 projects.\n")
        async with aiohttp.ClientSession(service.url) as session:
            async with session.get("/user/1") as response:
                assert await response.json() == {
                    "user_id": 1, "first_name": "Zoë", "last_name": "Zimmer", "balance": 1234
                }  # fmt: skip
            async with session.get("/products") as response:
                assert await response.json() == []
        status, output = await rowlock("seed", data_dir=data_dir)
        assert status == 1
        assert output == (
            "rowlock: There is other data already: the demo data needs an empty database.\n"
        )


async def test_seed__files_over_the_demo_data__says_how_to_start_without_it(
    database_url: str, tmp_path: Path
) -> None:
    assert (await rowlock("seed", database_url=database_url))[0] == 0
    for users in ([USERS[0] | {"id": 1}], [USERS[0] | {"username": "ada"}]):
        arguments = write(tmp_path, users=users, projects=[])
        status, output = await rowlock("seed", *arguments, database_url=database_url)
        assert status == 1
        assert "rowlock serve --no-demo" in output


@pytest.mark.parametrize(
    ("statement", "is_data"),
    [
        ("INSERT INTO users (username) VALUES ('load-1'), ('load-2')", False),
        ("INSERT INTO users (username) VALUES ('load-1'), ('zoe')", True),
        ("INSERT INTO products (slug, name, price) VALUES ('x', 'X', 1)", True),
        ("INSERT INTO services (id, name) VALUES (1, 'X')", True),
    ],
)
async def test_seed__demo_over_other_data__refused_unless_it_is_for_load_tests(
    database_url: str, statement: str, is_data: bool
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement.encode())
        assert (await rowlock("seed", database_url=database_url))[0] == is_data
        demo = "SELECT count(*) FROM users WHERE username = 'ada'"
        assert connection.execute(demo).fetchone() == (not is_data,)


async def test_serve__production__tokens_of_its_own_are_needed_and_not_shown(
    database_url: str, events_database_url: str
) -> None:
    tokens = {f"{name}_token": f"{name}-token-of-our-own" for name in SERVICES}
    tokens["cookie_key"] = "cookie-key-of-our-own"
    settings = {name: text for name, text in tokens.items() if name != "projects_token"}
    status, output = await rowlock("serve", env="production", database_url=database_url, **settings)
    assert (status, output.splitlines()) == (1, [output.strip()])
    assert "ROWLOCK_PROJECTS_TOKEN must be set in production" in output
    urls = {"database_url": database_url, "events_database_url": events_database_url}
    async with Service(env="production", **urls, **tokens) as service:
        listening = f'"url":"{service.projects_url}","event":"listening"'
        await until(lambda: listening in service.printed)
    assert not any(token in service.printed for token in tokens.values())
