"""A file system in a file, which a campaign can fill."""

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

_SIZE = 4 * 2**30  # the file is sparse: it takes only what is written


class SmallDisk:
    """An ext4 file system in a file, mounted at `path`. Raises OSError without root and a loop device."""

    def __init__(self, folder: Path) -> None:
        self._image, self.path = folder / "disk.img", folder / "disk"

    def __enter__(self) -> Self:
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(_SIZE)
        _run("mkfs.ext4", "-q", "-m", "0", str(self._image))
        _run("mount", "-o", "loop", str(self._image), str(self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.empty()
        _run("umount", str(self.path))
        self._image.unlink()

    @property
    def _filler(self) -> Path:
        return self.path / "filler"

    def fill(self) -> None:
        """Take all free space, to the last block."""
        with self._filler.open("wb") as filler:
            taken = 0
            for block in (2**20, 2**12):  # free space changes while others write
                while (left := shutil.disk_usage(self.path).free // block * block) > 0:
                    try:
                        os.posix_fallocate(filler.fileno(), taken, left)
                    except OSError:
                        break
                    taken += left

    def empty(self) -> None:
        """Free the space that `fill` took."""
        self._filler.unlink(missing_ok=True)


def _run(*command: str) -> None:
    try:
        subprocess.run(command, capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        raise OSError(error.stderr.decode(errors="replace").strip()) from error
