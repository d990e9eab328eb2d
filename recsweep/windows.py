"""What Windows answers where other systems have `/proc`, `os.kill(pid, 0)` and `getrusage`."""

import sys

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    QUERY_LIMITED_INFORMATION, STILL_ACTIVE = 0x1000, 259
    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.OpenProcess.restype = _kernel.GetCurrentProcess.restype = wintypes.HANDLE

    class _Memory(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = (
            ("length", wintypes.DWORD), ("load", wintypes.DWORD), ("total", ctypes.c_uint64),
            ("available", ctypes.c_uint64), ("total_page_file", ctypes.c_uint64),
            ("available_page_file", ctypes.c_uint64), ("total_virtual", ctypes.c_uint64),
            ("available_virtual", ctypes.c_uint64), ("available_extended", ctypes.c_uint64),
        )  # fmt: skip

    class _Process(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS."""

        _fields_ = (
            ("length", wintypes.DWORD), ("n_faults", wintypes.DWORD), ("peak", ctypes.c_size_t),
            *((f"other_{number}", ctypes.c_size_t) for number in range(7)),
        )  # fmt: skip

    def available_bytes() -> int:
        """Memory that is left on this machine."""
        memory = _Memory(length=ctypes.sizeof(_Memory))
        if not _kernel.GlobalMemoryStatusEx(ctypes.byref(memory)):
            raise ctypes.WinError(ctypes.get_last_error())
        return int(memory.available)

    def peak_bytes() -> int:
        """Peak memory of this process."""
        counters = _Process(length=ctypes.sizeof(_Process))
        own = wintypes.HANDLE(_kernel.GetCurrentProcess())
        if not _kernel.K32GetProcessMemoryInfo(own, ctypes.byref(counters), counters.length):
            raise ctypes.WinError(ctypes.get_last_error())
        return int(counters.peak)

    def is_alive(process: int) -> bool:
        """Whether a process runs; `os.kill(process, 0)` would send it Ctrl-C.

        Args:
            process: Its id.
        """
        handle = _kernel.OpenProcess(QUERY_LIMITED_INFORMATION, False, process)
        if not handle:
            return ctypes.get_last_error() == 5  # ERROR_ACCESS_DENIED: another user's
        code = wintypes.DWORD()
        _kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        _kernel.CloseHandle(wintypes.HANDLE(handle))
        return code.value == STILL_ACTIVE
