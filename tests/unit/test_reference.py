"""`rowlock settings`: all that there is to set, as the environment would have it."""

import ast
from pathlib import Path

import rowlock
from rowlock.settings import Settings, all_settings, variable_of
from rowlock.settings.kinds import Kind, kind_of
from rowlock.settings.table import describe
from tests.support.environments import environment, settings_from

PACKAGE = Path(rowlock.__file__).parent

# Every setting of release 0.1.0 and its default. None of them may go, or change.
RELEASED = """
    ENV=development LOG_LEVEL=info LOG_REQUESTS=1 HOST=127.0.0.1 COMMERCE_PORT=4000
    EVENTS_PORT=3001 EVENTS_URL= COMMERCE_TOKEN= COMMERCE_PUBLIC=0 PROJECTS_PORT=3000
    PROJECTS_TOKEN=development-projects-token EVENTS_TOKEN=development-events-token
    EVENTS_TIMEOUT_S=3 METRICS_TOKEN= AUTH0_DOMAIN= AUTH0_AUDIENCE= AUTH0_URL= AUTH0_TIMEOUT_S=3
    AUTH0_REFETCH_S=60 AUTH0_RETRY_S=1 AUTH0_KEYS_S=3600 DATABASE_URL= EVENTS_DATABASE_URL=
    DATA_DIR=.rowlock POOL_CONNECTIONS=12 POOL_QUEUE=1024 CONNECT_TIMEOUT_S=3
    ACQUIRE_TIMEOUT_S=3 STATEMENT_TIMEOUT_S=5 LOCK_TIMEOUT_S=0.5
    IDLE_IN_TRANSACTION_TIMEOUT_S=10 EMBEDDED_START_TIMEOUT_S=60 BATCH_ITEMS=512 BATCH_ANSWERS=8
    BATCH_QUEUE=2048 BATCH_WAIT_S=2 BATCH_ATTEMPTS=3 BATCH_RETRY_S=0.02 IDEMPOTENCY_KEEP_S=86400
    IDEMPOTENCY_PURGE_S=60 BODY_BYTES=65536 HEADERS_TIMEOUT_S=10 WRITE_TIMEOUT_S=20
    TURN_REQUESTS=16 TURN_WAIT_S=2 BODY_TIMEOUT_S=20 LINGER_TIMEOUT_S=5 KEEPALIVE_TIMEOUT_S=75
    READINESS_TIMEOUT_S=2 RETRY_AFTER_S=1 BACKLOG=2048 HANDSHAKE_TIMEOUT_S=0.1 DRAIN_IDLE_S=1
    DRAIN_TIMEOUT_S=8 STOP_TIMEOUT_S=0.6 WORKERS=1 WORKER_START_TIMEOUT_S=60 WORKER_SILENCE_S=30
    WORKER_RETRY_S=0.2 WORKER_RETRY_LIMIT_S=5 METRICS_SAMPLE_S=1 METRICS_TIMEOUT_S=1
    METRICS_ROWS=100000 TASK_RETRY_S=0.2 TASK_RETRY_LIMIT_S=5 TASK_HEALTHY_S=1
    PROCESSOR_POLL_S=2 PROCESSOR_PAGE_ORDERS=8192 PROCESSOR_BATCH_ORDERS=512
    PROCESSOR_ATTEMPTS=8 PROCESSOR_RETRY_S=1 PROCESSOR_RETRY_LIMIT_S=60 RELAY_BATCH_EVENTS=1000
    RELAY_LEAD_POLL_S=1 RELAY_TIMEOUT_S=10 RELAY_RETRY_S=0.1
    RELAY_RETRY_LIMIT_S=15 OUTBOX_PURGE_S=10 HOUSEKEEPING_ROWS=5000 EVENTS_BODY_BYTES=8388608
    EVENTS_BATCH_DELIVERIES=8 EVENTS_RETENTION_MONTHS=13 EVENTS_MONTHS_AHEAD=2
    EVENTS_MONTHS_BEHIND=13 EVENTS_MOVED_ROWS=10000 PARTITIONS_CHECK_S=3600
    PARTITIONS_RETRY_S=30 STREAM_HELD_EVENTS=2000 STREAM_PAGE_EVENTS=500
    STREAM_HEARTBEAT_S=15 STREAM_BUFFER_BYTES=262144 STREAM_STALL_S=10
    PROJECTS_DOMAIN=rowlock.example WEBHOOK_KEEP_S=604800 WEBHOOK_PURGE_S=3600
    WEBHOOK_TOLERANCE_S=300 OPENING_BALANCE=500.00 APPROVAL_RATE=0.5
"""


def test_describe__each_setting__default_is_what_the_environment_would_say() -> None:
    with environment({}):
        settings = describe()
    assert [setting.variable for setting in settings] == [*map(variable_of, all_settings())]
    environ = {setting.variable: setting.default for setting in settings if setting.default}
    assert settings_from(environ) == Settings()
    without = {variable_of(setting) for setting in all_settings() if setting.default in {None, ()}}
    assert {setting.variable for setting in settings if not setting.default} == without


def test_describe__variables_and_defaults__those_of_0_1_0_are_kept() -> None:
    with environment({}):
        found = {f"{setting.variable}={setting.default}" for setting in describe()}
    assert {f"ROWLOCK_{each}" for each in RELEASED.split()} <= found
    # The tasks are woken instead: these are the fallback.
    assert {"ROWLOCK_RELAY_POLL_S=2", "ROWLOCK_STREAM_POLL_S=2"} <= found


def test_describe__each_setting__has_a_meaning_and_a_kind() -> None:
    with environment({}):
        settings = describe()
    for setting in settings:
        assert setting.meaning == setting.meaning.strip() != "", setting.variable
        assert setting.meaning[0].islower(), setting.variable
        assert not setting.meaning.endswith("."), setting.variable
        assert setting.takes, setting.variable
    for each in all_settings():
        assert isinstance(kind_of(each), Kind)


# Settings that only the settings' own code reads: in a property, and in production's demands.
READ_WITHIN = {"events_url", "events_plain", "commerce_public"}
READ_WITHIN |= {"deployment_limit_s", "deployment_timeout_s"}
READ_WITHIN |= {"read_database_url", "events_read_database_url"}


def names_read() -> set[str]:
    """The attributes that the code reads outside of the settings, `attrgetter`'s included."""
    sources = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE / "settings"]
    nodes = [node for path in sources for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    getters = [
        node.args[0].value
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "attrgetter"
        if isinstance(node.args[0], ast.Constant)
    ]
    return read | {str(getter).rpartition(".")[2] for getter in getters}


def test_settings__each_one__is_read_by_what_it_is_for() -> None:
    dead = {setting.name for setting in all_settings()} - names_read()
    assert dead == READ_WITHIN


def test_describe__what_is_set__shown_unless_it_may_be_secret() -> None:
    environ = {
        "ROWLOCK_ENV": "production",
        "ROWLOCK_BATCH_ITEMS": "7",
        "ROWLOCK_EVENTS_TOKEN": "hush",
        "ROWLOCK_DATABASE_URL": "postgresql://rowlock:hush@db/rowlock",
    }
    with environment(environ):
        settings = describe()
    assert "hush" not in str(settings)
    assert {s.variable: s.set_to for s in settings if s.set_to} == environ | {
        "ROWLOCK_EVENTS_TOKEN": "(not shown)",
        "ROWLOCK_DATABASE_URL": "(not shown)",
    }
    by_name = {setting.variable: setting for setting in settings}
    assert by_name["ROWLOCK_ENV"].takes == "development or production"
    assert by_name["ROWLOCK_OPENING_BALANCE"].default == "500.00"
    assert by_name["ROWLOCK_IDEMPOTENCY_KEEP_S"].default == "86400"
