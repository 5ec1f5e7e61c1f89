"""The names of the services and of the databases."""

from enum import StrEnum


class ServiceName(StrEnum):
    """The services."""

    COMMERCE = "commerce"
    PROJECTS = "projects"
    EVENTS = "events"


class DatabaseName(StrEnum):
    """The databases; the migrations of each are in the folder of its name."""

    MAIN = "main"
    EVENTS = "events"
