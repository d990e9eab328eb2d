"""One root seed of an experiment, from which every consumer of randomness gets its own."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Seeds:
    """Independent child seeds that do not shift when one more consumer is added.

    Args:
        root: The experiment's seed, any integer.
    """

    root: int

    def named(self, name: str) -> int:
        """The seed of one consumer.

        Args:
            name: The consumer's name, such as `init`, `shuffle` or `noise`.

        Returns:
            An integer in [0, 2**31), the same for the same root and name on every machine.
        """
        digest = hashlib.sha256(f"{self.root}/{name}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1
