"""The files of docker/ha, filled in for one machine."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from rowlock.ops.drill.cluster import WHEEL
from rowlock.ops.drill.processes import free_port

SOURCE = Path(__file__).parents[2] / "docker/ha"
NODES = ("pg1", "pg2", "pg3")
HOST = "127.0.0.1"
ASSIGNMENT = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)


def assignments(text: str) -> dict[str, str]:
    """Return the variables that a file sets."""
    return dict(ASSIGNMENT.findall(text))


@dataclass(frozen=True)
class Files:
    """The files, with the ports of this run."""

    folder: Path
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def on_free_ports(cls, folder: Path) -> "Files":
        """Choose ports of this machine for what `cluster.env` names; keep its other values."""
        values = assignments((SOURCE / "cluster.env").read_text())
        taken: set[int] = set()
        for name in values:
            if name.endswith("_PORT"):
                while (port := free_port()) in taken:
                    pass  # nothing listens there yet
                taken.add(port)
                values[name] = str(port)
            elif name.endswith("_HOST"):
                values[name] = HOST
        etcd = f"{HOST}:{values['ETCD_PORT']}"
        values |= {
            "BIN_DIR": str(WHEEL.bin_path),
            "NETWORK": f"{HOST}/32",
            "ARCHIVE_DIR": str(folder / "archive"),
            "ETCD_DATA_DIR": str(folder / "etcd" / "data"),
            "ETCD_CLUSTER": f"{values['ETCD_NAME']}=http://{HOST}:{values['ETCD_PEER_PORT']}",
            "ETCD_HOSTS": etcd,
        }
        return cls(folder, values)

    def text(self, name: str, **changes: str) -> str:
        """Return a file, filled in. Raises KeyError for a name that `cluster.env` lacks."""
        return Template((SOURCE / name).read_text()).substitute(self.values | changes)

    def of_node(self, number: int) -> dict[str, str]:
        """Return what tells a machine of PostgreSQL from the others."""
        folder = self.folder / NODES[number - 1]
        return {
            "NODE_NAME": self.values[f"PG{number}_NAME"],
            "NODE_HOST": self.values[f"PG{number}_HOST"],
            "NODE_PORT": self.values[f"PG{number}_PORT"],
            "NODE_API_PORT": self.values[f"PG{number}_API_PORT"],
            "DATA_DIR": str(folder / "data"),
            "PGPASS": str(folder / "pgpass"),
        }

    def write(self, name: str, text: str, owner: str | None = None) -> Path:
        """Write a file of the run; return where it is."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if owner is not None:
            shutil.chown(path.parent, owner)
            shutil.chown(path, owner)
        return path

    def write_sources(self) -> None:
        """Write the files as they are in the repository, but `cluster.env` with other values."""
        shutil.copytree(SOURCE, self.folder / "docker/ha")
        values = self.values | self.of_node(1)
        text = "".join(f"{name}={value}\n" for name, value in values.items())
        (self.folder / "docker/ha/cluster.env").write_text(text)

    def environment(self, name: str) -> Mapping[str, str]:
        """Return the variables that a file sets, filled in."""
        return assignments(self.text(name))
