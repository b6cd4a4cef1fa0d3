"""Writes the `.dist-info` of our package beside it: `headrace --version` and scanners of images read it.

The wheel would bring components, policies and stand-ins too, so the image has the library as a folder and this.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path


def write(pyproject: Path, target: Path) -> Path:
    """The folder that was made (packaging.python.org, "Core metadata specifications"; the license's file is
    `LICENSE` beside `pyproject.toml`)."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    folder = target / f"{project['name']}-{project['version']}.dist-info"
    (folder / "licenses").mkdir(parents=True)
    fields = {
        "Metadata-Version": "2.4",
        "Name": project["name"],
        "Version": project["version"],
        "Summary": project["description"],
        "License-Expression": project["license"],
        "License-File": "LICENSE",
        "Requires-Python": project["requires-python"],
    }
    (folder / "METADATA").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()), encoding="utf-8")
    (folder / "INSTALLER").write_text("headrace\n", encoding="utf-8")
    shutil.copy(pyproject.with_name("LICENSE"), folder / "licenses" / "LICENSE")
    return folder


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
