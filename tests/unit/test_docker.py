"""The image and the compose file against the settings and the services; no engine needed."""

import re
from configparser import ConfigParser
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rowlock.services import SERVICES
from rowlock.settings import Settings
from rowlock.settings.names import ServiceName
from tests.support.environments import settings_from

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = (DOCKER / "compose.yml").read_text()
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
LOCK = "requirements-production.lock"
CONTAINERS = yaml.safe_load(COMPOSE)["services"]
OURS = {name: CONTAINERS[name] for name in (*SERVICES, "migrate")}
SECRETS = re.findall(r"^(\w+)=$", (DOCKER / ".env.example").read_text(), re.MULTILINE)


def fill_in(text: str) -> str:
    """The text with every secret in it given: to each its own name."""
    return re.sub(r"\$\{(\w+):\?[^}]*\}", r"\1", text)


def pins(path: Path) -> dict[str, str]:
    """What a lock file says of each distribution: its version, where it is needed, its hashes."""
    entries = re.findall(r"^([\w.-]+)==(.*(?:\n .*)*)", path.read_text(), re.MULTILINE)
    return dict(entries)


def test_compose__every_secret__required_and_in_the_example() -> None:
    assert set(re.findall(r"\$\{(\w+):\?[^}]+\}", COMPOSE)) == set(SECRETS)
    assert len(re.findall(r"\$", COMPOSE)) == len(re.findall(r"\$\{\w+:\?", COMPOSE))


def test_compose__environments__start_in_production() -> None:
    image = dict(re.findall(r"(ROWLOCK_\w+)=(\S+)", DOCKERFILE))
    for name, container in OURS.items():
        environ = {name: fill_in(text) for name, text in container["environment"].items()}
        serving = [ServiceName(name)] if name in SERVICES else []
        settings = settings_from(image | environ, serving)
        assert settings.env == "production"
        assert settings.addresses.events_url in {
            None,
            f"http://events:{settings.addresses.events_port}",
        }
        assert (settings.addresses.events_url is None) == (name in {"events", "migrate"})
        grace_s = float(container["stop_grace_period"].removesuffix("s"))
        assert settings.process.drain_timeout_s < grace_s


def test_compose__services__have_roles_and_grants_and_no_secrets_of_others() -> None:
    scripts = {
        name: (DOCKER / "postgres" / f"{name}.sql").read_text() for name in ("init", "grants")
    }
    for name in SERVICES:
        environ = CONTAINERS[name]["environment"]
        password = f"{name.upper()}_PASSWORD"
        assert f"://rowlock_{name}:${{{password}:" in environ["ROWLOCK_DATABASE_URL"]
        assert password in CONTAINERS["db"]["environment"]
        assert f"CREATE ROLE rowlock_{name} LOGIN" in scripts["init"]
        assert f"\\set role rowlock_{name}\n\\i {name}.sql\n" in scripts["grants"]
        secrets = set(re.findall(r"\$\{(\w+):", str(environ)))
        token = f"ROWLOCK_{name.upper()}_TOKEN"
        keys = {"ROWLOCK_COOKIE_KEY"} if name == "console" else set()
        shared = {"ROWLOCK_EVENTS_TOKEN", "ROWLOCK_METRICS_TOKEN"}
        assert secrets == {password, token} | shared | keys


def test_compose__containers__one_per_service_at_its_port_once_migrated() -> None:
    for name, service in SERVICES.items():
        port = service.port(Settings())
        assert OURS[name]["command"] == ["serve", name]
        assert OURS[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert OURS[name]["depends_on"] == {
            "grants": {"condition": "service_completed_successfully"}
        }
    assert CONTAINERS["grants"]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"}
    }
    assert OURS["migrate"]["command"] == ["migrate", "up"]
    assert "://rowlock:" in OURS["migrate"]["environment"]["ROWLOCK_DATABASE_URL"]  # the owner
    assert OURS["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}


def test_compose__ours__end_at_once_when_stopped_while_they_start() -> None:
    # The kernel ignores SIGTERM for process 1 until there is a handler.
    assert all(container["init"] for container in OURS.values())


def test_compose__what_lasts__comes_back_and_its_log_and_memory_have_limits() -> None:
    steps = {"migrate", "grants"}
    assert {name for name, each in CONTAINERS.items() if each["restart"] == "no"} == steps
    for name in CONTAINERS.keys() - steps:
        assert CONTAINERS[name]["restart"] == "unless-stopped"
        assert CONTAINERS[name]["logging"]["options"].keys() == {"max-size", "max-file"}
    assert all({"mem_limit", "pids_limit"} <= container.keys() for container in OURS.values())


def test_compose__monitoring__only_when_asked_for() -> None:
    asked = {name for name, container in CONTAINERS.items() if "profiles" in container}
    assert asked == {"prometheus", "grafana"}


def test_compose__mounts__exist() -> None:
    mounts = [mount for container in CONTAINERS.values() for mount in container.get("volumes", ())]
    sources = [mount.split(":")[0] for mount in mounts]
    assert all((DOCKER / source).exists() for source in sources if source.startswith("."))


def test_image__settings_and_ports__are_rowlocks_own() -> None:
    environ = dict(re.findall(r"(ROWLOCK_\w+)=(\S+)", DOCKERFILE))
    assert set(environ) == {"ROWLOCK_ENV", "ROWLOCK_HOST"}
    [exposed] = re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)
    assert {int(port) for port in exposed.split()} == {
        service.port(Settings()) for service in SERVICES.values()
    }


def test_image__last_stage__does_not_run_as_root() -> None:
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER [1-9]\d+$", last, re.MULTILINE)


def test_image__dependencies__locked_with_hashes_and_installed_before_the_sources_come() -> None:
    assert f"install --require-hashes -r {LOCK}\n" in DOCKERFILE
    assert DOCKERFILE.index(f"COPY {LOCK} .") < DOCKERFILE.index("COPY . .")
    assert f"!{LOCK}\n" in (ROOT / ".dockerignore").read_text()


def test_production_lock__is_the_other_one_without_the_extra() -> None:
    locked, production = (pins(ROOT / name) for name in ("requirements.lock", LOCK))
    assert production.items() <= locked.items()
    assert all("--hash=sha256:" in pin for pin in production.values())
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    required, extra = (
        {canonicalize_name(Requirement(line).name) for line in lines.split("\n") if line}
        for lines in (
            setup["options"]["install_requires"],
            setup["options.extras_require"]["embedded"],
        )
    )
    assert required | {"setuptools"} <= production.keys()
    assert extra <= locked.keys()
    assert not extra & production.keys()
