"""The only place where the two backends differ: how a step computes gradients and is compiled.

Keras reads `KERAS_BACKEND` when it is first imported, so a process has only one backend.
Everything else in recsweep is written once, with `keras.ops`.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
from keras import ops
from keras.src.backend.common import global_state  # no public name, Keras 3.0 to 3.15

from recsweep.interfaces import LossInputs, LossParts, Tensor
from recsweep.training.phases import EpochPlan, Stage


class Values(NamedTuple):
    """Everything that training changes, as plain tensors."""

    trainable: list[Tensor]
    other: list[Tensor]  # counters of the random number streams
    optimizer: list[Tensor]


_TENSORFLOW_TRAINS = threading.Lock()
"""Held during an epoch on TensorFlow: trainings of one architecture share a network's variables."""

Epoch = Callable[[Values, Any], tuple[Values, list[LossParts]]]
"""(values, (batches, hyper, rates), all stacked by step) -> (values, loss parts by stage, step)."""
Step = Callable[[Values, Any], tuple[Values, LossParts]]
"""(values, (batch, hyper, rate)) -> (values, loss parts)."""


def name() -> str:
    """`jax` or `tensorflow`."""
    return str(keras.backend.backend())


def with_values(network: keras.Model, values: Values, function: Callable[[], Any]) -> Any:
    """Call `function()` with the network's variables replaced by `values`."""
    mapping = [
        *zip(network.trainable_variables, values.trainable, strict=True),
        *zip(network.non_trainable_variables, values.other, strict=True),
    ]
    with keras.StatelessScope(state_mapping=mapping):
        return function()


@contextmanager
def without_values() -> Iterator[None]:
    """Variables that are created in the block have a shape, but no memory."""
    waiting = "uninitialized_variables"  # Keras gives those a value at the end of another scope
    before = list(global_state.get_global_attribute(waiting, []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(waiting, before)


def compile_program(
    function: Callable[..., Any], *, donate_first: bool = False
) -> Callable[..., Any]:
    """`function` as one program: XLA on JAX, a graph on TensorFlow, whose XLA is slower here.

    Args:
        function: Tensors in, tensors out.
        donate_first: JAX may reuse the first argument's memory for the result.

    Returns:
        The program. It keeps what was compiled for each set of shapes that it was called with.
    """
    if name() == "jax":
        import jax

        return jax.jit(function, donate_argnums=(0,) if donate_first else ())
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    return tf.function(function)


def dense_above() -> float:
    """The density of a sparse matrix above which its dense product takes less time."""
    if name() == "jax":
        return math.inf
    return 0.02 if _tensorflow_has_gpu() else 0.05


def _tensorflow_has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


def csr_matmul(values: Tensor, columns: Tensor, row_starts: Tensor, dense: Tensor) -> Tensor:
    """A sparse matrix in compressed rows times a dense one.

    On a CPU both backends have a kernel for it. JAX's takes a sixth of the time of XLA's gather and
    segment sum for wide rows (13,000 entries × 8,115 columns), and less than half that of a dense
    product for a matrix with 3 % nonzeros (MovieLens 1M); TensorFlow's a quarter of the time of
    `tf.sparse.sparse_dense_matmul`. The callers define the gradient.

    Args:
        values: One value per entry.
        columns: int32, the column of each entry.
        row_starts: int32, the first entry of each row, and the number of entries.
        dense: A matrix with one row per column of the sparse matrix.
    """
    shape = (row_starts.shape[0] - 1, dense.shape[0])
    if name() == "jax":
        from jax.experimental.sparse import BCSR

        return BCSR((values, columns, row_starts), shape=shape) @ dense
    import tensorflow as tf

    entries = tf.range(values.shape[0])
    rows = tf.searchsorted(row_starts, entries, side="right") - 1  # `repeat` fills a dense matrix
    indices = tf.cast(tf.stack([rows, columns], axis=1), tf.int64)
    if _tensorflow_has_gpu():  # the kernel below was not tried there
        return tf.sparse.sparse_dense_matmul(tf.SparseTensor(indices, values, shape), dense)
    matrix = tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=indices, values=values, dense_shape=tf.constant(shape, tf.int64)
    )
    return tf.raw_ops.SparseMatrixMatMul(a=matrix, b=dense)


def add_at(dense: Tensor, cells: Tensor, values: Tensor) -> Tensor:
    """A matrix with values added to some of its cells.

    Args:
        dense: The matrix.
        cells: int32, row · columns + column of each value. A cell may come more than once.
        values: What is added, one per entry of `cells`.
    """
    flat = ops.reshape(dense, (-1,))
    if name() == "jax":
        return ops.reshape(flat.at[cells].add(values), dense.shape)
    import tensorflow as tf

    flat = tf.tensor_scatter_nd_add(flat, tf.expand_dims(cells, 1), values)
    return tf.reshape(flat, dense.shape)


def without_diagonal(matrix: Tensor) -> Tensor:
    """A square matrix with zeros on its diagonal.

    Args:
        matrix: A square matrix.
    """
    if name() == "tensorflow":  # whose `where` over a mask takes four times as long
        import tensorflow as tf

        return tf.linalg.set_diag(matrix, tf.zeros(matrix.shape[0]))
    is_diagonal = ops.arange(matrix.shape[0])[:, None] == ops.arange(matrix.shape[0])
    return ops.where(is_diagonal, 0.0, matrix)


def sum_of_squares(values: Tensor) -> Tensor:
    """Σ v² over all entries.

    Args:
        values: A tensor of any shape.
    """
    if name() == "tensorflow":  # which would write down all squares
        import tensorflow as tf

        return 2 * tf.nn.l2_loss(values)
    return ops.sum(ops.square(values))


def fused(kind: type[keras.optimizers.Adam]) -> type[keras.optimizers.Adam]:
    """The same optimizer, which updates all of a weight's numbers in one pass over the memory.

    XLA makes one pass of Keras' update by itself. TensorFlow would make one for each of its
    operations, which took a fifth of an epoch of Multi-VAE on MovieLens 1M. Keras would also square
    the gradients of a row that is read twice, an item of BPR, before it adds them.

    Args:
        kind: Keras' Adam or a class derived from it.
    """
    if name() != "tensorflow":
        return kind
    import tensorflow as tf

    class Fused(kind):
        def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
            place = self._get_variable_index(variable)
            n_steps = tf.cast(self.iterations + 1, variable.dtype)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._momentums[place].value.handle,
                v=self._velocities[place].value.handle,
                beta1_power=tf.pow(self.beta_1, n_steps),
                beta2_power=tf.pow(self.beta_2, n_steps),
                lr=tf.cast(learning_rate, variable.dtype),
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),  # adds equal rows
            )

    return Fused


def epoch_of(network: keras.Model, plan: EpochPlan) -> Epoch:
    """A compiled epoch of gradient steps.

    Args:
        network: `network(batch, hyper=…, training=True)` returns loss parts with the total `loss`.
        plan: Its stages, with their optimizers, whose learning rate is set at each step.
    """
    if name() == "jax":
        return compile_program(_jax_epoch(network, plan), donate_first=True)
    program = compile_program(_tensorflow_epoch(network, plan))

    def one_at_a_time(values: Values, steps: Any) -> tuple[Values, list[LossParts]]:
        with _TENSORFLOW_TRAINS:
            return program(values, steps)

    return one_at_a_time


def _jax_epoch(network: keras.Model, plan: EpochPlan) -> Epoch:
    def scan(stage: Stage, others: Others, own: Values, steps: Any) -> tuple[Values, LossParts]:
        return ops.scan(jax_step(InStage(network, stage, others), stage.optimizer), own, steps)

    return jax_stages(network, plan, scan)


class Others(NamedTuple):
    """Weights that a stage reads and does not change."""

    rest: list[Tensor]  # those that it does not train
    before: list[Tensor]  # all weights that the epoch began with, if its loss needs them


class InStage:
    """A network in a stage: its weights are those that the stage trains.

    Args:
        network: The network.
        stage: The stage.
        others: The other weights.
    """

    def __init__(self, network: keras.Model, stage: Stage, others: Others) -> None:
        self._network, self._stage, self._others = network, stage, others
        self.adds_l2 = getattr(network, "adds_l2", False)

    def stateless_call(
        self,
        trained: list[Tensor],
        other: list[Tensor],
        batch: Any,
        *,
        hyper: LossInputs,
        training: bool,
    ) -> tuple[LossParts, list[Tensor]]:
        """The call of the whole network."""
        hyper = self._stage.inputs(self._network, self._others.before, batch, hyper)
        weights = self._stage.join(trained, self._others.rest)
        return self._network.stateless_call(weights, other, batch, hyper=hyper, training=training)


def jax_stages(
    network: keras.Model, plan: EpochPlan,
    scan: Callable[[Stage, Others, Values, Any], tuple[Values, LossParts]],
) -> Epoch:  # fmt: skip
    """An epoch, stage after stage.

    Args:
        network: The network.
        plan: Its stages.
        scan: Takes the steps of a stage: (stage, other weights, its own values, steps) -> (its own
            values, loss parts by step).
    """

    def epoch(values: Values, steps: Any) -> tuple[Values, list[LossParts]]:
        first, parts = values.trainable, []
        for stage, some in plan.cut(steps):
            before = stage.weights_before(network, first)
            others = Others(stage.rest_of(values.trainable), before)
            own = Values(stage.of(values.trainable), values.other, values.optimizer[stage.state])
            own, of_stage = scan(stage, others, own, some)
            optimizer = [*values.optimizer]
            optimizer[stage.state] = own.optimizer
            values = Values(stage.join(own.trainable, others.rest), own.other, optimizer)
            parts.append(of_stage)
        return values, parts

    return epoch


Gradients = Callable[
    [Any, Values, Any, LossInputs],
    tuple[LossParts, list[Tensor], list[Tensor]],
]
"""(network, values, batch, hyper) -> (loss parts, counters after the step, gradients)."""


def jax_gradients(
    network: keras.Model | InStage, values: Values, batch: Any, hyper: LossInputs
) -> tuple[LossParts, list[Tensor], list[Tensor]]:
    """Loss parts and gradients of one step, see `Gradients`."""
    import jax

    def loss(trainable: list[Tensor]) -> tuple[Tensor, Any]:
        parts, other = network.stateless_call(
            trainable, values.other, batch, hyper=hyper, training=True
        )
        return parts["loss"], (parts, other)

    (_, (parts, other)), gradients = jax.value_and_grad(loss, has_aux=True)(values.trainable)
    return parts, other, gradients


def jax_step(
    network: keras.Model | InStage,
    optimizer: keras.optimizers.Optimizer,
    gradients_of: Gradients = jax_gradients,
) -> Step:
    """One gradient step on JAX."""
    rate_at = [v is optimizer._learning_rate for v in optimizer.variables].index(True)

    def step(values: Values, inputs: Any) -> tuple[Values, LossParts]:
        batch, hyper, rate = inputs
        parts, other, gradients = gradients_of(network, values, batch, hyper)
        # Waiting for all gradients lets XLA update the weights in place, without a copy per step
        rate = rate + 0 * sum(ops.reshape(gradient, (-1,))[0] for gradient in gradients)
        state = [*values.optimizer[:rate_at], rate, *values.optimizer[rate_at + 1 :]]
        trainable, state = optimizer.stateless_apply(state, gradients, values.trainable)
        return Values(list(trainable), list(other), list(state)), parts

    return step


def _tensorflow_epoch(network: keras.Model, plan: EpochPlan) -> Epoch:
    """Keras' TensorFlow optimizers cannot be called statelessly: values pass through variables."""
    import tensorflow as tf

    variables = Values(network.trainable_variables, network.non_trainable_variables, plan.variables)

    def steps_of(stage: Stage, before: list[Tensor], steps: Any) -> LossParts:
        trained = stage.of(variables.trainable)
        names: list[str] = []

        def step(inputs: Any) -> Tensor:
            batch, hyper, rate = inputs
            hyper = stage.inputs(network, before, batch, hyper)
            with tf.GradientTape() as tape:
                parts = network(batch, hyper=hyper, training=True)
            gradients = tape.gradient(parts["loss"], [v.value for v in trained])
            stage.optimizer.learning_rate.assign(rate)
            stage.optimizer.apply(gradients, trained)
            names[:] = parts
            return tf.stack(list(parts.values()))

        parts = tf.map_fn(step, steps, fn_output_signature=tf.float32, parallel_iterations=1)
        return dict(zip(names, tf.unstack(parts, axis=1), strict=True))

    def epoch(values: Values, steps: Any) -> tuple[Values, list[LossParts]]:
        tf.nest.map_structure(lambda variable, value: variable.assign(value), variables, values)
        parts = [
            steps_of(stage, stage.weights_before(network, values.trainable), some)
            for stage, some in plan.cut(steps)
        ]
        return tf.nest.map_structure(lambda variable: tf.identity(variable.value), variables), parts

    return epoch
