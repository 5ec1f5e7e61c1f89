"""What operators see of a service."""

from tests.support.types import Client


async def problems(client: Client) -> dict[str, str]:
    """What is wrong with each background task that is failing, by its name."""
    checks: dict[str, str] = (await (await client.get("/readyz")).json())["checks"]
    return {
        name.removeprefix("task "): problem
        for name, problem in checks.items()
        if name.startswith("task ")
    }
