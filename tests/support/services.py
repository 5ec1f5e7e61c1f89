"""Services with other background tasks than their own, and a look at what they are made of."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from rowlock.engine.lanes import Feature
from rowlock.http.service import Context, Parts, Service

Kind = TypeVar("Kind", bound=Feature)


def quiet(service: Service) -> Service:
    """The service with nothing in its background."""
    return with_tasks(service)


def with_tasks(service: Service, *names: str) -> Service:
    """The service with only these of its tasks."""

    def keep(parts: Parts) -> Parts:
        tasks = [task for task in parts.tasks if task.name in names]
        assert len(tasks) == len(names), [task.name for task in parts.tasks]
        return parts._replace(tasks=tasks)

    return changed(service, keep)


def changed(service: Service, change: Callable[[Parts], Parts]) -> Service:
    """The service with other parts."""

    def build(context: Context) -> Parts:
        return change(service.build(context))

    return replace(service, build=build)


def spied_on(service: Service, seen: list[Parts]) -> Service:
    """The service, which adds its parts to `seen` when its application is made."""

    def note(parts: Parts) -> Parts:
        seen.append(parts)
        return parts

    return changed(service, note)


def feature_of(parts: Parts, kind: type[Kind]) -> Kind:
    """The feature of that kind among the parts of a service."""
    [feature] = [feature for feature in parts.features if isinstance(feature, kind)]
    return feature
