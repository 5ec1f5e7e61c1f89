"""This machine's settings of pip as secrets of a build, so that they stay out of the image."""

import re
import subprocess
import sys
from pathlib import Path

SETTING = re.compile(r"^(?:[\w-]+|:env:)\.([\w-]+)='(.*)'$", re.MULTILINE)
PASSED = {"extra-index-url", "index-url", "proxy", "timeout", "trusted-host"}
CERTIFICATES = "/run/secrets/pip-certificates"


def secrets(folder: Path) -> list[str]:
    """Return the options of `docker build` that pass them; the files are made in `folder`.

    What leads into this machine's folders is left out: the build can't reach it.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    lines, options = ["[global]"], []
    for name, value in SETTING.findall(listed):
        if name == "cert" and Path(value).is_file():
            lines.append(f"cert = {CERTIFICATES}")
            options.append(f"--secret=id=pip-certificates,src={value}")
        elif name in PASSED and "file:" not in value:
            lines.append(f"{name} = {value}")
    settings = folder / "pip.conf"
    settings.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)))
    settings.chmod(0o600)
    return [*dict.fromkeys(options), f"--secret=id=pip.conf,src={settings}"]
