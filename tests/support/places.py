"""Where tests put databases: in memory where there is room, for nothing there has to outlive a power cut."""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
DISK = Path("/tmp")
# Several times what all workers together need; a container's 64 MiB do not do.
ROOM_BYTES = 4 * 2**30


def new_folder(parent: Path | None = None) -> Path:
    """A folder that every account can enter, which pytest's own is not when root runs it."""
    parent = parent or (MEMORY if _is_fit(MEMORY) else DISK)
    folder = Path(tempfile.mkdtemp(prefix="chronoledger-test-", dir=parent))
    folder.chmod(0o755)
    return folder


def _is_fit(place: Path) -> bool:
    """Whether everybody may write there and run programs, and there is room."""
    return (
        os.access(place, os.W_OK | os.X_OK)
        and place.stat().st_mode & 0o777 == 0o777
        and not os.statvfs(place).f_flag & os.ST_NOEXEC
        and shutil.disk_usage(place).free >= ROOM_BYTES
    )
