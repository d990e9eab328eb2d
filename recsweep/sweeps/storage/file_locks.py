"""Locks on open files and reads at an offset, on POSIX systems and on Windows.

The locks are those of flock and of LockFileEx. Both belong to the open file and not to the
process, so that a file opened twice keeps its second opener out; the system frees both when their
holder dies.
"""

import os
import sys
import time

POLL_S = 0.05
"""Windows only: polling interval while waiting for the lock."""

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    EXCLUSIVE, AT_ONCE = 2, 1  # LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY
    TAKEN = {33, 997}  # ERROR_LOCK_VIOLATION, ERROR_IO_PENDING

    class _Place(ctypes.Structure):
        """OVERLAPPED: the locked byte, far beyond the end, as no other process can read it."""

        _fields_ = (
            ("internal", ctypes.c_void_p), ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD), ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )  # fmt: skip

    _LENGTH = (wintypes.DWORD, wintypes.DWORD)  # of the locked range: low and high word
    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.LockFileEx.argtypes = (
        wintypes.HANDLE, wintypes.DWORD, wintypes.DWORD, *_LENGTH, ctypes.POINTER(_Place),
    )  # fmt: skip
    _kernel.UnlockFileEx.argtypes = (
        wintypes.HANDLE, wintypes.DWORD, *_LENGTH, ctypes.POINTER(_Place),
    )  # fmt: skip

    def _lock(descriptor: int, flags: int) -> bool:
        handle, place = msvcrt.get_osfhandle(descriptor), _Place(offset_high=1 << 30)
        if _kernel.LockFileEx(handle, flags | AT_ONCE, 0, 1, 0, ctypes.byref(place)):
            return True
        code = ctypes.get_last_error()
        if code not in TAKEN:
            raise ctypes.WinError(code)
        return False

    def lock(descriptor: int) -> bool:
        """Lock an open file for this opener alone, if it is free.

        Raises:
            OSError: It cannot be locked.
        """
        return _lock(descriptor, EXCLUSIVE)

    def wait_for_lock(descriptor: int) -> None:
        """Lock an open file as soon as it is free; Ctrl-C interrupts the wait.

        Raises:
            OSError: It cannot be locked.
        """
        while not lock(descriptor):  # nothing interrupts a wait inside LockFileEx
            time.sleep(POLL_S)

    def is_locked(descriptor: int) -> bool:
        """Whether another opener holds the lock: only then is a shared lock refused.

        Raises:
            OSError: It cannot be locked.
        """
        if not _lock(descriptor, 0):
            return True
        unlock(descriptor)
        return False

    def unlock(descriptor: int) -> None:
        """Unlock an open file."""
        handle, place = msvcrt.get_osfhandle(descriptor), _Place(offset_high=1 << 30)
        _kernel.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(place))

    def read_at(descriptor: int, n_bytes: int, offset: int) -> bytes:
        """Read from an offset and leave the file's position where it is."""
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, offset, os.SEEK_SET)
        try:
            return os.read(descriptor, n_bytes)
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int, flags: int) -> bool:
        try:
            fcntl.flock(descriptor, flags | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def lock(descriptor: int) -> bool:
        """Lock an open file for this opener alone, if it is free.

        Raises:
            OSError: It cannot be locked.
        """
        return _lock(descriptor, fcntl.LOCK_EX)

    def wait_for_lock(descriptor: int) -> None:
        """Lock an open file as soon as it is free; Ctrl-C interrupts the wait.

        Raises:
            OSError: It cannot be locked.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def is_locked(descriptor: int) -> bool:
        """Whether another opener holds the lock: only then is a shared lock refused.

        Raises:
            OSError: It cannot be locked.
        """
        if not _lock(descriptor, fcntl.LOCK_SH):
            return True
        unlock(descriptor)
        return False

    def unlock(descriptor: int) -> None:
        """Unlock an open file."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def read_at(descriptor: int, n_bytes: int, offset: int) -> bytes:
        """Read from an offset and leave the file's position where it is."""
        return os.pread(descriptor, n_bytes, offset)
