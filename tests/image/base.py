"""The image to build on: Python's own, or a base from this machine's files.

The latter is for machines that reach no registry of images. It has what Debian calls essential,
and this process's Python with its standard library, pip, and the libraries that it links.
"""

import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.image.engine import Engine, Unavailable

OWN = "rowlock-check-base"
PULL_TIMEOUT_S = 90.0

LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
ETC = ("ld.so.cache", "ld.so.conf", "nsswitch.conf", "ssl/certs/ca-certificates.crt")
USERS = Path("/usr/share/base-passwd")  # Debian's list, not this machine's
UNUSED = re.compile(r"/usr/share/(?:doc|doc-base|info|lintian|locale|man|bash-completion)/")
# Of the standard library. What is in site-packages is not Python's.
UNUSED_MODULES = {
    *("__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "site-packages", "test"),
    *("tkinter", "turtledemo"),
}
ASK = """
import json, os, site, sys, sysconfig
print(json.dumps([os.path.realpath(sys.executable), sysconfig.get_path("stdlib"),
    site.getsitepackages()[0]]))
"""


def find(engine: Engine, wanted: str) -> tuple[str, str]:
    """Return the base image's name, and what it is. `wanted` is pulled where that is possible."""
    if engine.works("image", "inspect", wanted):
        return wanted, wanted
    if engine.works("pull", "--quiet", wanted, timeout_s=PULL_TIMEOUT_S):
        return wanted, wanted
    make(engine)
    return OWN, f"this machine's own files, with Python {sys.version.split()[0]}, not {wanted}"


def make(engine: Engine) -> None:
    """Make the base from this machine's files. Raises Unavailable where it is not Debian."""
    if shutil.which("dpkg-query") is None or not USERS.is_dir():
        raise Unavailable("there is no image to build on, and only on Debian can one be made")
    with (
        engine.load(OWN) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        _write(archive)


def _write(archive: tarfile.TarFile) -> None:
    """Write the image's files: each once, folders before what is in them, open to all users."""
    python, modules, packages = _python()
    wanted = {*_essential(), python, *_modules(modules)}
    wanted |= set(_libraries(path for path in wanted if _is_program(path)))
    wanted |= {Path("/etc") / name for name in ETC if Path("/etc", name).exists()}
    wanted |= set(Path("/etc/ld.so.conf.d").glob("*.conf"))
    image = Archive(archive)
    for link, target in LINKS.items():
        if Path("/", link).is_symlink():
            image.link(Path("/", link), target)
    for path in sorted(wanted):
        image.add(path)
    for name in ("passwd", "group"):
        image.write(Path("/etc", name), (USERS / f"{name}.master").read_text())
    for name in ("python", "python3"):
        image.link(Path("/usr/local/bin", name), str(python))
    for file in importlib.metadata.files("pip") or ():
        if file.parts[0].startswith("pip") and file.suffix != ".pyc":
            image.add(Path(str(file.locate())), packages / file)
    image.write(Path("/usr/local/bin/pip"), '#!/bin/sh\nexec python -m pip "$@"\n', mode=0o755)
    image.folder(Path("/tmp"), mode=0o1777)
    for name in ("/proc", "/sys", "/dev", "/run", "/root", "/var/lib", "/var/tmp", "/mnt", "/opt"):
        image.folder(Path(name))


class Archive:
    """An archive of files that are named by their paths on this machine."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._names: set[str] = set()

    def add(self, source: Path, path: Path | None = None) -> None:
        """Add a file or a link of this machine, by default at its own path."""
        place = self._open(path or source)
        if place is None or not (source.is_symlink() or source.is_file()):
            return
        entry = self._archive.gettarinfo(source, place)
        if entry.islnk():  # its first name may be left out
            entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", source.stat().st_size
        entry.mode |= 0o555 if entry.mode & 0o100 else 0o444
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        if entry.isreg():
            with source.open("rb") as file:
                self._archive.addfile(entry, file)
        else:
            self._archive.addfile(entry)

    def write(self, path: Path, text: str, mode: int = 0o644) -> None:
        """Add a file with this text."""
        if (place := self._open(path)) is not None:
            content = text.encode()
            entry = tarfile.TarInfo(place)
            entry.size, entry.mode = len(content), mode
            self._archive.addfile(entry, io.BytesIO(content))

    def link(self, path: Path, target: str) -> None:
        """Add a symbolic link."""
        if (place := self._open(path)) is not None:
            entry = tarfile.TarInfo(place)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            self._archive.addfile(entry)

    def folder(self, path: Path, mode: int = 0o755) -> None:
        """Add a folder."""
        if (place := self._open(path)) is not None:
            entry = tarfile.TarInfo(place)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            self._archive.addfile(entry)

    def _open(self, path: Path) -> str | None:
        """Add the folders above a path; return its name, or None if it is there already."""
        parent = Path(os.path.realpath(path.parent))
        if parent != parent.parent:
            self.folder(parent)
        name = str(parent / path.name).removeprefix("/")
        if name in self._names:
            return None
        self._names.add(name)
        return name


def _essential() -> Iterator[Path]:
    """The files of the packages that every Debian has."""
    shown = _output(
        "dpkg-query",
        "--show",
        "--showformat=${binary:Package} ${Essential} ${Priority} ${db:Status-Status}\n",
    )
    packages = [
        name
        for name, *kinds in map(str.split, shown.splitlines())
        if "installed" in kinds
        # All need libc6, which says so of itself nowhere.
        and ("yes" in kinds or "required" in kinds or name.partition(":")[0] == "libc6")
    ]
    for line in _output("dpkg-query", "--listfiles", *packages).splitlines():
        path = Path(line)
        if (
            line.startswith("/")
            and not UNUSED.match(line)
            and (path.is_symlink() or path.is_file())
        ):
            yield path


def _python() -> tuple[Path, Path, Path]:
    """This Python outside of any environment: program, standard library, place of packages."""
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    program, modules, packages = json.loads(_output(str(base), "-I", "-c", ASK))
    return Path(program), Path(modules), Path(packages)


def _modules(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in UNUSED_MODULES]
        yield from (Path(place, name) for name in names if not name.endswith(".a"))


def _is_program(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """The libraries that programs link, by each name that leads to them."""
    done = subprocess.run(
        ["ldd", *map(str, programs)], check=False, capture_output=True, text=True
    ).stdout
    for name in set(re.findall(r"(?:=> |^\t)(/\S+)", done, re.MULTILINE)):
        path = Path(name)
        yield path
        while path.is_symlink():
            path = path.parent / os.readlink(path)
            yield path


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
