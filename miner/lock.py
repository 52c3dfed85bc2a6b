"""One run at a time in a folder."""

from pathlib import Path

from filelock import AcquireReturnProxy, BaseFileLock, FileLock, Timeout

from miner.schema import ConfigError

LOCK = ".lock"


def lock_folder(folder: Path) -> AcquireReturnProxy[BaseFileLock]:
    """Keep other runs out of a folder, until this process ends in any way or the lock is released.

    What is given releases it at the end of a `with` statement.

    Raises:
        ConfigError: another run is at work there, or the folder cannot be written.
    """
    lock: BaseFileLock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{folder}: another run is at work in this folder; wait for it, or name another folder"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{folder / LOCK}: cannot be written ({error.strerror}); name another folder"
        ) from None
