"""What every method has in common: passes, gradients, accumulation and the update."""

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf

from fada_tf import registry
from fada_tf.augmentations import fourier
from fada_tf.config import Config
from fada_tf.errors import InputError
from fada_tf.optimizers.groups import ParameterGroup
from fada_tf.optimizers.loss_scale import LossScale
from fada_tf.optimizers.torch_optimizers import TorchOptimizer

Batch = dict[str, tf.Tensor]
Gradients = dict[str, list[tf.Tensor]]
Watcher = Callable[[Mapping[str, float]], str | None]


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss and who learns from it.

    Attributes:
      value: float32 scalar, a mean over pixels or images of what `passes` was given; it is reported as it is.
      trains: the name of the network whose weights it is differentiated by.
      weight: of the value in what that network minimises.
    """

    value: tf.Tensor
    trains: str
    weight: float = 1.0


class Method(abc.ABC):
    """A way to train a segmenter; one file in this folder, whose name is the method's.

    The file has a class `Settings`, see `fada_tf.config.MethodSettings`, which also names the network that is scored
    and exported, and a function `build(config, segmenter)`. That is called in the strategy's scope, after the initial
    weights were loaded. tests/plugins/methods/masked_teacher.py is a method that uses every hook.

    Attributes:
      domains: the domains it trains on, in the order of the arguments of `passes`.
      labelled_domains: those of them whose labels it needs.
      measured: the names of all that its passes yield.
      fourier_beta: see `DataConfig`.
      reported: those of them that are no losses and may jump: shares, entropies.
      networks: every model that checkpoints hold, by name; "segmenter" is one of them.
      optimizers: those of the networks that are trained, by the network's name.
      loss_scale: a `LossScale` if the segmenter computes in float16, else None.
    """

    domains: tuple[str, ...]
    labelled_domains: tuple[str, ...]
    measured: tuple[str, ...]
    reported: tuple[str, ...] = ()
    fourier_beta: float = 0.0

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        optimizers: Mapping[str, TorchOptimizer],
        accumulation_steps: int = 1,
    ):
        self.networks = dict(networks)
        self.segmenter = self.networks["segmenter"]
        self.optimizers = dict(optimizers)
        self.accumulation_steps = accumulation_steps
        self.loss_scale = LossScale() if self.segmenter.compute_dtype == "float16" else None

    @abc.abstractmethod
    def passes(self, *batches: Batch) -> Iterator[dict[str, Loss | tf.Tensor]]:
        """Yields, pass by pass, losses by name, and scalars that are only reported.

        After each pass every network's gradient is taken, and the activations are freed, before the next begins. What
        several passes yield by one name is added up. The weights are those before the update in all passes.

        What is yielded for a batch must be the mean of what is yielded for its equal parts, so that replicas and
        accumulation change nothing: no ratio of sums over a batch, but for those of labelled pixels.

        The graph may be compiled by XLA, and AutoGraph does not convert it: shapes of images are static, conditions and
        loops on tensors are written as tf.cond and tf.while_loop, random numbers come from `fada_tf.randomness`.

        Args:
          *batches: of each domain, one part of one replica's; see `step`.
        """

    def after_update(self, iteration: tf.Tensor, measures: Mapping[str, tf.Tensor]) -> None:  # noqa: B027 (few need it)
        """Does what follows an update of all networks, on every replica; see `fada_tf.models.moving_average`.

        Args:
          iteration: int64, the updates made, this one included; those that float16 has skipped do not count, and are
            not followed by a call.
          measures: what the passes of this replica measured, by name.
        """

    def watchers(self) -> Sequence[Watcher]:
        """Returns functions from the means of `measured` since the last report, by name, to a warning or None."""
        return ()

    def pictures(self, *batches: Batch) -> dict[str, Batch]:
        """Returns what the method makes of images and learns from, for people to see.

        Args:
          *batches: as for `passes`, of a few images.

        Returns:
          By name: "image" [batch, height, width, 3] in 0..255, "label" integers [batch, height, width], 255 for none,
          and "weight" float32 [batch, height, width] in 0..1; and perhaps "mask" float32 [batch, height, width, 1], 0
          where the image is hidden.
        """
        return {}

    @property
    def groups(self) -> dict[str, ParameterGroup]:
        """The parameter groups of all networks, by their names."""
        return {group.name: group for optimizer in self.optimizers.values() for group in optimizer.groups}

    @property
    def measure_names(self) -> tuple[str, ...]:
        """The keys of what `step` returns."""
        norms = (f"gradient_norm/{name}" for name in self.groups)
        return (*self.measured, *norms, *(("loss_scale",) if self.loss_scale else ()))

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The names by which the `measure_names` stand in metrics.jsonl and TensorBoard, in the same order."""
        kinds = dict.fromkeys(self.measured, "loss/") | dict.fromkeys(self.reported, "watched/")
        return tuple(kinds.get(name, "") + name for name in self.measure_names)

    def use_xla(self) -> None:
        """Compiles `losses_and_gradients` with XLA from now on."""
        self.losses_and_gradients = tf.function(self.losses_and_gradients, jit_compile=True, autograph=False)

    @tf.autograph.experimental.do_not_convert  # which would take seconds, and finds nothing to convert here or below
    def step(self, *batches: Batch) -> dict[str, tf.Tensor]:
        """Makes one update of every network; runs in a replica.

        Args:
          *batches: this replica's images of each domain: "image" uint8 [batch, height, width, 3], "label" uint8
            [batch, height, width], 255 where there is none, if the domain has labels, and "draw" int64 [batch], each
            image's number among those that are drawn of its domain; the i-th of two domains have the same. Of a domain
            without labels perhaps "valid" uint8 [batch, height, width], 0 where labels would be 255: in margins and
            beside the image.

        Returns:
          float32 scalars of this replica: what was measured, and "gradient_norm/GROUP", the L2 norms of its own
          gradients. With loss scaling also "loss_scale", and 0 for a norm that is not finite while a lower scale may
          mend that; such an update is skipped.
        """
        measures, gradients = self._accumulate(batches)
        norms = {f"gradient_norm/{name}": tf.linalg.global_norm(gradients[name]) for name in self.groups}
        if self.loss_scale is None:
            self.update(gradients, measures)
            return measures | norms
        scale = tf.identity(self.loss_scale.scale)
        self.loss_scale.update(self.update, gradients, measures)
        # At the lowest scale an overflow is a divergence, which the norm shows.
        norms = {name: tf.where(tf.math.is_finite(norm) | (scale <= 1), norm, 0) for name, norm in norms.items()}
        return measures | norms | {"loss_scale": scale}

    def losses_and_gradients(self, *batches: Batch) -> tuple[dict[str, tf.Tensor], Gradients]:
        """Returns what the passes measure on one replica, and the gradients by every variable of each group.

        Raises:
          ValueError: no pass reaches a variable, or a pass yields a name that is not among `measured`.
        """
        measures: dict[str, tf.Tensor] = {}
        gradients: dict[str, list] = {network: [None] * len(self._trained(network)) for network in self.optimizers}
        before, passes = [], self.passes(*self.adapted(*batches))
        while True:
            # One pass after the other, or the activations of all would be in memory at once.
            with tf.control_dependencies(before):
                differentiated = self._next_pass(passes)
            if differentiated is None:
                break
            values, of_pass = differentiated
            before = [tf.group([value for value in tf.nest.flatten(of_pass) if value is not None])]
            measures = _sums(measures, values)
            gradients = {network: _add(total, of_pass[network]) for network, total in gradients.items()}
        if set(measures) != set(self.measured):
            raise ValueError(f"the passes yield {sorted(measures)}, and `measured` has {sorted(self.measured)}")
        return measures, self._by_group(gradients)

    def adapted(self, *batches: Batch) -> tuple[Batch, ...]:
        """Returns the batches of the domains as the passes see them.

        Where `fourier_beta` is not 0, source images have the low frequencies' amplitudes of the target images of their
        places; they are float32 then, and some values lie outside of 0..255.
        """
        if not self.fourier_beta:
            return batches
        by_domain = dict(zip(self.domains, batches, strict=True))
        source, target = by_domain["source"], by_domain["target"]
        images = fourier.swap_amplitudes(source["image"], target["image"], self.fourier_beta)
        return tuple((by_domain | {"source": source | {"image": images}}).values())

    def _next_pass(self, passes) -> tuple[dict[str, tf.Tensor], dict[str, list[tf.Tensor | None]]] | None:
        """Runs one pass; returns its measures and its gradients by network; None after the last one."""
        with contextlib.ExitStack() as stack:
            tapes = {
                network: stack.enter_context(tf.GradientTape(watch_accessed_variables=False))
                for network in self.optimizers
            }
            # Each tape follows one network's weights. So no gradient goes on through a network that does not learn
            # from the loss: that of L_D would go through F, to no effect but time.
            for network, tape in tapes.items():
                tape.watch([variable.value for variable in self._trained(network)])
            losses = next(passes, None)
            if losses is None:
                return None
            terms: dict[str, list[tf.Tensor]] = {}
            for loss in losses.values():
                if isinstance(loss, Loss):
                    terms.setdefault(loss.trains, []).append(loss.weight * loss.value)
            objectives = {network: tf.add_n(values) for network, values in terms.items()}
        gradients = {
            network: self._gradient(tape, objectives.get(network), self._trained(network))
            for network, tape in tapes.items()
        }
        measures = {name: loss.value if isinstance(loss, Loss) else loss for name, loss in losses.items()}
        return measures, gradients

    def _gradient(self, tape: tf.GradientTape, loss: tf.Tensor | None, variables: list) -> list[tf.Tensor | None]:
        if loss is None:
            return [None] * len(variables)
        if self.loss_scale is None:
            return tape.gradient(loss, variables)
        return self.loss_scale.gradient(tape, loss, variables)

    def update(self, gradients: Gradients, measures: Mapping[str, tf.Tensor]) -> None:
        """Updates every network once, by the mean over the replicas of the gradients of each.

        Args:
          gradients: the second result of `losses_and_gradients`.
          measures: its first result, for `after_update`.
        """
        # The optimizers sum over the replicas, and each replica's losses are means over its own images.
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        before = []
        for optimizer in self.optimizers.values():
            of_network = [gradient for group in optimizer.groups for gradient in gradients[group.name]]
            # Each waits for the gradients of those before it, or D's would take memory while F's activations live.
            with tf.control_dependencies(before):
                optimizer.apply([gradient / replicas if replicas > 1 else gradient for gradient in of_network])
            before.append(tf.group(of_network))
        self.after_update(tf.cast(optimizer.iterations, tf.int64), measures)

    def _trained(self, network: str) -> list[keras.Variable]:
        return [variable for group in self.optimizers[network].groups for variable in group.variables]

    def _by_group(self, gradients: dict[str, list[tf.Tensor | None]]) -> Gradients:
        """Returns gradients by group instead of by network."""
        by_group: Gradients = {}
        for network, optimizer in self.optimizers.items():
            remaining = iter(gradients[network])
            for group in optimizer.groups:
                by_group[group.name] = [next(remaining) for _ in group.variables]
                for variable, gradient in zip(group.variables, by_group[group.name], strict=True):
                    if gradient is None:
                        raise ValueError(f"{variable.path} of the {network} learns from no loss")
        return by_group

    def _accumulate(self, batches: tuple[Batch, ...]) -> tuple[dict[str, tf.Tensor], Gradients]:
        """Returns the means of the parts' measures and gradients; the parts come one after the other, in a loop."""
        parts = self.accumulation_steps
        if parts == 1:
            return self.losses_and_gradients(*batches)
        # Synchronized batch norm leaves the replica context in every part, which a loop inside of it does not allow.
        totals = tf.distribute.get_replica_context().merge_call(self._accumulate_across_replicas, args=(batches,))
        return tf.nest.map_structure(lambda total: total / parts, totals)

    def _accumulate_across_replicas(self, strategy, batches):
        each_replica = strategy.extended.call_for_each_replica

        def add_part(part, totals):
            return part + 1, each_replica(self._add_part, args=(part, totals, batches))

        _, totals = tf.while_loop(
            lambda part, totals: part < self.accumulation_steps,
            add_part,
            (0, each_replica(self._zeros)),
            parallel_iterations=1,
            maximum_iterations=self.accumulation_steps,
        )
        return totals

    def _zeros(self):
        measures = {name: tf.zeros([]) for name in self.measured}
        return measures, {
            name: [tf.zeros(variable.shape) for variable in group.variables] for name, group in self.groups.items()
        }

    def _add_part(self, part, totals, batches):
        def portion(values):
            return tf.reshape(values, [self.accumulation_steps, -1, *values.shape[1:]])[part]

        result = self.losses_and_gradients(*tf.nest.map_structure(portion, batches))
        return tf.nest.map_structure(tf.add, totals, result)


def build_method(config: Config, segmenter: keras.Model) -> Method:
    """Makes the method that the config names, in the strategy's scope.

    Args:
      config: of the run.
      segmenter: with its initial weights.

    Raises:
      InputError: the config asks for what the method cannot do.
    """
    method = registry.load("fada_tf.methods", config.method.name).build(config, segmenter)
    if config.data.fourier_beta and {"source", "target"} != {*method.domains}:
        raise InputError(
            f"config.data.fourier_beta is {config.data.fourier_beta}, and method {config.method.name} trains on "
            f"{' and '.join(method.domains)} alone, where no two images are mixed: set it to 0"
        )
    method.fourier_beta = config.data.fourier_beta
    return method


def _sums(totals: dict[str, tf.Tensor], values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return totals | {name: totals[name] + value if name in totals else value for name, value in values.items()}


def _add(totals: list, values: list) -> list:
    """Adds up gradients, None where there is none."""
    return [
        value if total is None else total if value is None else total + value
        for total, value in zip(totals, values, strict=True)
    ]
