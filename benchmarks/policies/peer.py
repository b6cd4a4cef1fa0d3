"""checkov from the package index, in an environment of its own in the product's cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from headrace_sandbox import cache

VERSION = "3.3.30"


def command() -> Path | None:
    """The command, installed at its first use; None where it can't be had, and then says so."""
    folder = cache.root() / "bench" / f"checkov-{VERSION}"
    binary = folder / "bin" / "checkov"
    with cache.locked(folder.with_suffix(".lock"), what="install checkov"):
        if (folder / "complete").is_file():
            return binary
        cache.say(f"installing checkov {VERSION} for the comparison (--no-checkov leaves it out) …")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"checkov=={VERSION}"]
            subprocess.run(pip, check=True, capture_output=True, text=True, timeout=900)
        except (subprocess.SubprocessError, OSError) as error:
            reason = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1:]
            cache.say(f"no comparison with checkov: it can't be installed ({' '.join(reason)})")
            return None
        (folder / "complete").touch()
        return binary
