"""What the router asks of its process."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

# More than one replica can serve; some systems have no limit, and some refuse one above a million.
_ENOUGH: Final = 1 << 20


def raise_open_files() -> int:
    """Raises the soft limit of open files to the hard one; returns what holds now.

    A request takes two files, a caller's connection and a pool's. Container runtimes start processes with a soft limit
    of 1,024, which five hundred streams reach; the hard limit is hundreds of times that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
