"""What metrics are given: the ranked lists of some users, and what was held out of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from recsweep.metrics.gains import running_gains


@dataclass(frozen=True)
class TrainingCounts:
    """How popular the items of the catalogue are.

    Args:
        n_users: Training users.
        of_items: Training interactions of each item.
    """

    n_users: int
    of_items: Int[np.ndarray, " items"]


@dataclass(frozen=True)
class RankedLists:
    """The ranked lists of all users of a fold.

    A user who has no held-out item is an error, never a zero: whoever makes the lists leaves such
    users out and counts them.

    Args:
        hits: `hits[u, r]` is True when the item ranked `r` (0 = best) was held out.
        n_relevant: Held-out items per user, each at least 1.
        items: Item numbers from 0 to `n_items` - 1, users × ranks. A user with fewer unseen items
            than ranks has the first one again in the places that are left. None = nobody knows
            them, as in a file of somebody's recommendations.
        n_items: Items of the catalogue; 0 = not known.
        popularity: What training counts of each item; None = not known.
    """

    hits: Bool[np.ndarray, "users ranks"]
    n_relevant: Int[np.ndarray, " users"]
    items: Int[np.ndarray, "users ranks"] | None = None
    n_items: int = 0
    popularity: TrainingCounts | None = None

    def top_hits(self, k: int) -> Bool[np.ndarray, "users top"]:
        """Hits at the first `k` ranks.

        Raises:
            ValueError: `k` is out of range, or some user has no held-out item or more hits than
                held-out items.
        """
        self._refuse_cut(k)
        return self._consistent_hits[:, :k]

    def discounted_gain(self, k: int) -> Float[np.ndarray, " users"]:
        """Discounted cumulative gain of the first `k` ranks; errors as of `top_hits`."""
        self._refuse_cut(k)
        return self._running_gains[:, k - 1]

    @cached_property
    def _consistent_hits(self) -> Bool[np.ndarray, "users ranks"]:
        """The hits, once it is clear that they and the held-out items can belong together."""
        without_target = self.n_relevant < 1
        if without_target.any():
            row = int(np.argmax(without_target))
            raise ValueError(
                f"every user must have a held-out item, but row {row} has "
                f"n_relevant={self.n_relevant[row]}; leave users without one out"
            )
        n_hits = np.count_nonzero(self.hits, axis=1)
        too_many = n_hits > self.n_relevant
        if too_many.any():
            row = int(np.argmax(too_many))
            raise ValueError(
                f"no user can have more hits than held-out items, but row {row} has "
                f"{n_hits[row]} hits and n_relevant={self.n_relevant[row]}; count the targets and "
                "the hits on the same items, and rank each item once"
            )
        return self.hits

    @cached_property
    def _running_gains(self) -> Float[np.ndarray, "users ranks"]:
        """The gains of every cut-off, which one sum gives."""
        return running_gains(self._consistent_hits)

    def n_hits(self, k: int) -> Int[np.ndarray, " users"]:
        """Number of hits at the first `k` ranks; errors as of `top_hits`."""
        return np.count_nonzero(self.top_hits(k), axis=1)

    def n_reachable(self, k: int) -> Int[np.ndarray, " users"]:
        """Most hits that `k` ranks can hold."""
        return np.minimum(self.n_relevant, np.int64(k))  # int64: counts may come as int8

    def top_items(self, k: int) -> Int[np.ndarray, "users top"]:
        """Items at the first `k` ranks.

        Raises:
            ValueError: `k` is out of range, or the items are not known or not in the catalogue.
        """
        self._refuse_cut(k)
        return self._known_items[:, :k]

    @cached_property
    def _known_items(self) -> Int[np.ndarray, "users ranks"]:
        """The items, once it is clear that the catalogue has them."""
        if self.items is None or self.n_items < 1:
            raise ValueError(
                "this metric must know the catalogue, but only hits are known; leave it out"
            )
        is_unknown = (self.items < 0) | (self.items >= self.n_items)
        if is_unknown.any():
            raise ValueError(
                f"item numbers must be from 0 to {self.n_items - 1}, got "
                f"{self.items[is_unknown][0]}; number the items of the catalogue consecutively"
            )
        return self.items

    def times_listed(self, k: int) -> Int[np.ndarray, " items"]:
        """How many users have each item in the first `k` ranks; errors as of `top_items`."""
        top = self.top_items(k)
        is_filler = self._is_filler[:, :k]
        listed = top[~is_filler] if is_filler.any() else top.ravel()
        return np.bincount(listed, minlength=self.n_items)

    def mean_of_listed(self, of_items: np.ndarray, k: int) -> Float[np.ndarray, " users"]:
        """Mean of a value of each item over the first `k` ranks; errors as of `top_items`.

        Args:
            of_items: One value per item of the catalogue.
            k: Cut-off in items.
        """
        values = of_items[self.top_items(k)]
        is_filler = self._is_filler[:, :k]
        if is_filler.any():
            return values.mean(axis=1, where=~is_filler, dtype=np.float64)
        return values.mean(axis=1, dtype=np.float64)

    @cached_property
    def _is_filler(self) -> Bool[np.ndarray, "users ranks"]:
        """The places of users with too few unseen items, which repeat the first."""
        items = self._known_items
        return (items == items[:, :1]) & (np.arange(items.shape[1]) > 0)

    def training_popularity(self) -> Int[np.ndarray, " items"]:
        """Training interactions of each item; errors as of `training_counts`."""
        return self.training_counts().of_items

    def training_counts(self) -> TrainingCounts:
        """Training interactions of each item, and the number of training users.

        Raises:
            ValueError: They are unknown.
        """
        if self.popularity is None:
            raise ValueError(
                "this metric must know the training data, but only lists are known; leave it out"
            )
        return self.popularity

    def _refuse_cut(self, k: int) -> None:
        n_ranks = self.hits.shape[1]
        if not 1 <= k <= n_ranks:
            raise ValueError(
                f"k must be from 1 to the {n_ranks} ranks of the lists, got {k}; rank more items "
                "or lower k"
            )
