"""The compose file as arguments of `docker run`; `make image-check` runs them."""

import pytest

from rowlock.services import SERVICES
from tests.image.compose import Service, services, variables

VALUES = {name: f"value-of-{name}" for name in variables()}
FOUND = services(VALUES)
NAMES = [service.name for service in FOUND]


def test_services__in_order__each_after_those_that_it_needs() -> None:
    assert NAMES[:3] == ["db", "migrate", "grants"]
    assert set(NAMES[3:]) >= {str(name) for name in SERVICES}
    assert not {"prometheus", "grafana"} & set(NAMES)
    steps = {service.name for service in FOUND if not service.lasts}
    assert steps == {"migrate", "grants"}


def test_arguments__commerce__have_its_limits_and_its_secrets() -> None:
    [commerce] = [service for service in FOUND if service.name == "commerce"]
    arguments = commerce.arguments("check")
    assert {
        *("--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true"),
        *("--memory=512m", "--pids-limit=256", "--tmpfs=/tmp", "--stop-timeout=15"),
        "--env=ROWLOCK_COMMERCE_TOKEN=value-of-ROWLOCK_COMMERCE_TOKEN",
        "--restart=unless-stopped",
    } <= set(arguments)
    assert (commerce.ports, commerce.grace_s, commerce.is_ours) == ([4000], 15, True)


def test_arguments__db__have_its_volume_its_script_and_its_check() -> None:
    [db] = [service for service in FOUND if service.name == "db"]
    arguments = db.arguments("check")
    assert "--volume=check-db:/var/lib/postgresql" in arguments
    assert any(
        each.endswith("init.sql:/docker-entrypoint-initdb.d/init.sql:ro") for each in arguments
    )
    assert "--health-cmd=pg_isready --host=127.0.0.1 --username=rowlock" in arguments
    assert not db.is_ours


def test_arguments__unknown_key__refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"does not know .*privileged"):
        Service("x", {"image": "x", "privileged": True}).arguments("check")
