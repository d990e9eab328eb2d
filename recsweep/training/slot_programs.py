"""The compiled programs of several trainings of one network, each in a slot of all arrays.

Arrays of slots have a leading axis `slots`; a slot has weights, noise and step counts of its own,
so a training does not depend on its neighbours.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
from keras import ops

from recsweep.interfaces import LossInputs, LossParts, Tensor
from recsweep.training.backend import (
    InStage,
    Others,
    Values,
    jax_gradients,
    jax_stages,
    jax_step,
    with_values,
)
from recsweep.training.batches import DenseBatch
from recsweep.training.phases import EpochPlan, Stage
from recsweep.training.resident import Rows, n_rows_of


class Trainings(NamedTuple):
    """Everything that the trainings of a bank change; leading axis `slots`."""

    values: Values
    kept: list[Tensor]  # each slot's best weights so far


class Steps(NamedTuple):
    """The inputs of an epoch; leading axes `slots` and `steps`."""

    rows: Tensor  # int32, … × n_rows: the users of a batch; one past the last = none
    hyper: dict[str, Tensor]
    rates: Tensor


class Watched(NamedTuple):
    """A fold in the device's memory, which is ranked after each epoch."""

    history: Rows  # what users are ranked by
    target: Rows  # what was held out of them
    chunks: Tensor  # int32, chunks × users: everyone's row number; one past the last = none
    n_users: Tensor  # int32
    n_items: Tensor  # int32: without padding
    ranks: Tensor  # int32: 0, 1, … of the lists
    patterns: tuple[()] | tuple[Rows, Rows]  # 1 at each interaction of both, if a value is 0


class Ranked(NamedTuple):
    """The validation of all slots after an epoch; leading axis `slots`."""

    items: Tensor  # int32, … × users × k, best first
    hits: Tensor  # bool, … × users × k
    losses: LossParts  # sums over users
    is_finite: Tensor  # bool


def advance_of(network: keras.Model, plan: EpochPlan) -> Callable[..., Any]:
    """A program that trains every slot for one epoch and ranks the watched fold.

    Returns:
        (trainings, keep, (train, watched or ()), steps, constants) -> (trainings, loss parts by
        stage, slot and step, ranked or ()). `keep` says which slots keep the weights that they
        begin with, before they are trained; `constants` are the loss's inputs without noise, by
        slot.
    """

    def scan(train: Rows, stage: Stage, others: Others, own: Values, steps: Steps) -> Any:
        def of_slot(others: Others, values: Values, steps: Steps) -> tuple[Values, LossParts]:
            step = jax_step(InStage(network, stage, others), stage.optimizer, _gradients)
            is_user = steps.rows < n_rows_of(train)
            batch = DenseBatch(train.take(steps.rows), is_user.astype(jnp.float32))
            return step(values, (batch, steps.hyper, steps.rates))

        return jax.lax.scan(lambda *now: jax.vmap(of_slot)(others, *now), own, steps)

    def advance(
        trainings: Trainings, keep: Tensor, data: tuple[Rows, Watched | tuple[()]], steps: Steps,
        constants: Any,
    ) -> tuple[Trainings, list[LossParts], Ranked | tuple[()]]:  # fmt: skip
        train, watched = data
        kept = [
            jnp.where(keep.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)
            for new, old in zip(trainings.values.trainable, trainings.kept, strict=True)
        ]
        by_step = jax.tree.map(lambda each: jnp.swapaxes(each, 0, 1), steps)
        epoch = jax_stages(network, plan, partial(scan, train))
        values, parts = epoch(trainings.values, by_step)
        ranked = _ranked(network, values, constants, watched) if watched else ()
        parts = jax.tree.map(lambda part: jnp.swapaxes(part, 0, 1), parts)
        return Trainings(values, kept), parts, ranked

    return jax.jit(advance, donate_argnums=(0,))


def _gradients(
    network: keras.Model | InStage, values: Values, batch: DenseBatch, hyper: LossInputs
) -> tuple[LossParts, list[Tensor], list[Tensor]]:
    """Gradients with those of the l2 penalty apart, so that they join in the optimizer's update.

    Left together, XLA writes l2·W into memory and adds it to the products there: a fifth of a step.
    """
    if "l2" not in hyper or not getattr(network, "adds_l2", False):
        return jax_gradients(network, values, batch, hyper)
    rest = {name: value for name, value in hyper.items() if name != "l2"}
    parts, other, gradients = jax_gradients(network, values, batch, rest)
    gradients = jax.lax.optimization_barrier(gradients)

    def penalty(trainable: list[Tensor]) -> Tensor:
        parts, _ = network.stateless_call(
            trainable, values.other, batch, hyper=hyper, training=True
        )
        return parts["l2"]

    total, of_penalty = jax.value_and_grad(penalty)(values.trainable)
    gradients = [each + more for each, more in zip(gradients, of_penalty, strict=True)]
    return {**parts, "l2": total, "loss": parts["loss"] + total}, other, gradients


def _ranked(network: keras.Model, values: Values, constants: Any, watched: Watched) -> Ranked:
    """Lists, hits and loss parts of every slot, a chunk of users at a time."""

    def of_chunk(numbers: Tensor) -> Tensor:
        history, target = watched.history.take(numbers), watched.target.take(numbers)
        seen, wanted = history, target
        if watched.patterns:
            seen, wanted = (rows.take(numbers) for rows in watched.patterns)
        is_user = (numbers < watched.n_users).astype(jnp.float32)
        fold = _Chunk(history, target, seen, wanted, is_user, watched.n_items, len(watched.ranks))
        return jax.vmap(partial(_rank_slot, network, fold))(values, constants)

    items, hits, losses, is_finite = jax.lax.map(of_chunk, watched.chunks)

    def by_slot(lists: Tensor) -> Tensor:
        lists = jnp.swapaxes(lists, 0, 1)
        return lists.reshape(lists.shape[0], -1, lists.shape[-1])

    losses = {name: part.sum(axis=0) for name, part in losses.items()}
    return Ranked(by_slot(items), by_slot(hits), losses, is_finite.all(axis=0))


class _Chunk(NamedTuple):
    """Some users of the watched fold, dense."""

    history: Tensor
    target: Tensor
    seen: Tensor  # not 0 at each interaction of `history`
    wanted: Tensor  # likewise of `target`
    is_user: Tensor
    n_items: Tensor
    k: int


def _rank_slot(network: keras.Model, fold: _Chunk, values: Values, constants: Any) -> Any:
    scores = scores_of(network, values, DenseBatch(fold.history, fold.is_user))
    is_item = jnp.arange(scores.shape[1]) < fold.n_items
    is_finite = (jnp.isfinite(scores) | ~is_item).all()
    ranked = jnp.where(scores == 0, 0.0, scores)  # XLA ranks 0 above -0
    is_open = is_item & (fold.seen == 0)
    best, items = jax.lax.top_k(jnp.where(is_open, ranked, -jnp.inf), fold.k)
    hits = (jnp.take_along_axis(fold.wanted, items, axis=1) != 0) & ~jnp.isneginf(best)
    items = jnp.where(jnp.isneginf(best), items[:, :1], items)

    whole = DenseBatch(fold.history + fold.target, fold.is_user)
    losses = with_values(network, values, lambda: network(whole, hyper=constants, training=False))
    n_users = fold.is_user.sum()
    sums = {
        name: jnp.where(n_users > 0, part * n_users, 0.0) for name, part in losses.items()
    }  # the mean over no user is not a number
    return items, hits, sums, is_finite


def scores_of(network: keras.Model, values: Values, batch: DenseBatch) -> Tensor:
    """Scores of one training, n_rows × width."""
    return with_values(network, values, lambda: network.scores(batch))


def place_of() -> Callable[..., Any]:
    """A program that puts a new training into a slot: (trainings, slot, values) -> trainings."""

    def place(trainings: Trainings, slot: Tensor, new: Values) -> Trainings:
        values = jax.tree.map(lambda old, each: old.at[slot].set(each), trainings.values, new)
        kept = [
            old.at[slot].set(each) for old, each in zip(trainings.kept, new.trainable, strict=True)
        ]
        return Trainings(values, kept)

    return jax.jit(place, donate_argnums=(0,))


def take_of() -> Callable[..., Any]:
    """A program that copies one slot of a list of arrays: (arrays, slot) -> arrays."""
    return jax.jit(lambda arrays, slot: [each[slot] for each in arrays])


def empty_trainings(values: Values, n_slots: int) -> Trainings:
    """Slots without a training, in the shapes of one."""

    def repeated(each: Tensor) -> Tensor:
        return jnp.zeros((n_slots, *ops.shape(each)), each.dtype)

    return Trainings(jax.tree.map(repeated, values), [repeated(each) for each in values.trainable])
