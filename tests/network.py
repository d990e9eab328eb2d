"""Machines of a network on this one: namespaces around a hub, each with a link that can be cut."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

CLONE_NEWNET = 0x40000000


class Network:
    """A hub and hosts, which reach each other and nothing else; needs root and iproute2.

    Args:
        hosts: Their names.
    """

    address = "10.213.0.1"
    """Of the hub."""

    def __init__(self, hosts: list[str]) -> None:
        self._hosts = hosts
        self._hub = self._namespace("hub")

    def __enter__(self) -> Self:
        _ip("netns", "add", self._hub)
        try:
            self._ip_hub("link", "set", "lo", "up")
            own = ("address", "02:00:00:00:00:01")  # not a link's: what is cut off is not heard
            self._ip_hub("link", "add", "bridge", *own, "type", "bridge", "forward_delay", "0")
            self._ip_hub("address", "add", f"{self.address}/24", "dev", "bridge")
            self._ip_hub("link", "set", "bridge", "up")
            for number, host in enumerate(self._hosts, 2):
                self._add(host, number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _add(self, host: str, number: int) -> None:
        name, port = self._namespace(host), f"port-{host}"
        _ip("netns", "add", name)
        end = ("peer", "name", "uplink", "netns", name)
        self._ip_hub("link", "add", port, "type", "veth", *end)
        self._ip_hub("link", "set", port, "master", "bridge", "up")
        _ip("-n", name, "address", "add", f"10.213.0.{number}/24", "dev", "uplink")
        for device in ("lo", "uplink"):
            _ip("-n", name, "link", "set", device, "up")

    def __exit__(self, *error: object) -> None:
        for host in ("hub", *self._hosts):
            if Path("/var/run/netns", self._namespace(host)).exists():
                _ip("netns", "delete", self._namespace(host))

    def cut(self, host: str) -> None:
        """Lose all packets to and from a host without a word, as a switch without power does."""
        self._ip_hub("link", "set", f"port-{host}", "nomaster")

    def mend(self, host: str) -> None:
        """Undo `cut`."""
        self._ip_hub("link", "set", f"port-{host}", "master", "bridge")

    @contextmanager
    def inside(self, host: str = "hub") -> Iterator[None]:
        """Let this thread, and the processes that it starts, be on a machine."""
        with Path("/proc/thread-self/ns/net").open() as before:
            with Path("/var/run/netns", self._namespace(host)).open() as there:
                _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def _namespace(self, host: str) -> str:
        return f"recsweep-{os.getpid()}-{host}"

    def _ip_hub(self, *arguments: str) -> None:
        _ip("-n", self._hub, *arguments)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _enter(file: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
