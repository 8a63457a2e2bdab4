"""SGD, Adam and AdamW against torch's formulas, written out in NumPy in float64, and against torch's own numbers."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf.optimizers.groups import ParameterGroup
from fada_tf.optimizers.schedules import Schedule, build_schedule
from fada_tf.optimizers.torch_optimizers import TorchAdam, TorchAdamW, TorchOptimizer, TorchSGD
from tests.optimizers import shared

STEPS, RATE, HORIZON, POWER = 5, 0.5, 8, 0.9
MULTIPLIERS, DECAYS = (1.0, 10.0), (0.1, 0.02)


def schedule(multiplier: float):
    return build_schedule(RATE * multiplier, horizon=HORIZON, power=POWER)


def learning_rate(step: int, multiplier: float) -> float:
    """A rate that changes much from step to step."""
    return RATE * multiplier * (1 - step / HORIZON) ** POWER


def numbers(scale: float = 1.0) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the weights of two groups, and a gradient a step and group."""
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(6).astype("f") for _ in MULTIPLIERS]
    return start, scale * rng.standard_normal((STEPS, len(start), 6)).astype("f")


def groups(start: list[np.ndarray]) -> list[ParameterGroup]:
    return [
        ParameterGroup(f"group{place}", [keras.Variable(values, name=f"weight{place}")], multiplier, decay)
        for place, (values, multiplier, decay) in enumerate(zip(start, MULTIPLIERS, DECAYS, strict=True))
    ]


def run(optimizer: TorchOptimizer, gradients: np.ndarray) -> list[np.ndarray]:
    """Returns the weights after one update a gradient."""
    apply = tf.function(optimizer.apply)
    for of_step in gradients:
        apply([tf.constant(gradient) for gradient in of_step])
    return [np.asarray(variable) for group in optimizer.groups for variable in group.variables]


def sgd(weight, gradient, rate, decay, count, state):
    state["v"] = 0.9 * state.get("v", 0.0) + gradient + decay * weight
    return weight - rate * state["v"]


def adam(weight, gradient, rate, decay, count, state):
    gradient = gradient + decay * weight
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * gradient
    state["s"] = 0.99 * state.get("s", 0.0) + 0.01 * gradient**2
    return weight - rate * (state["m"] / (1 - 0.9**count)) / (np.sqrt(state["s"] / (1 - 0.99**count)) + 1e-8)


def adamw(weight, gradient, rate, decay, count, state):
    return adam(weight * (1 - rate * decay), gradient, rate, 0.0, count, state)


def expected(formula: Callable, start: list[np.ndarray], gradients: np.ndarray, decays=DECAYS) -> list[np.ndarray]:
    """Returns the weights after the same updates by the formula."""
    after = []
    for place, (values, multiplier, decay) in enumerate(zip(start, MULTIPLIERS, decays, strict=True)):
        weight, state = values.astype(np.float64), {}
        for step, gradient in enumerate(gradients[:, place].astype(np.float64)):
            weight = formula(weight, gradient, learning_rate(step, multiplier), decay, step + 1, state)
        after.append(weight)
    return after


BUILD = {
    "sgd": (lambda groups, **settings: TorchSGD(groups, schedule, momentum=0.9, **settings), sgd),
    "adam": (lambda groups, **settings: TorchAdam(groups, schedule, beta_2=0.99, **settings), adam),
    "adamw": (lambda groups, **settings: TorchAdamW(groups, schedule, beta_2=0.99, **settings), adamw),
}


@pytest.mark.parametrize("name", BUILD)
def test_two_groups_follow_torchs_formula_under_a_changing_learning_rate(name):
    build, formula = BUILD[name]
    start, gradients = numbers()
    for ours, wanted in zip(run(build(groups(start)), gradients), expected(formula, start, gradients), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_epsilon_is_added_after_the_bias_correction(name):
    build, formula = BUILD[name]
    start, gradients = numbers(scale=1e-8)  # as small as epsilon
    built = build([ParameterGroup(group.name, group.variables, group.multiplier, 0.0) for group in groups(start)])
    for ours, wanted in zip(run(built, gradients), expected(formula, start, gradients, (0.0, 0.0)), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=2e-5)


def test_the_learning_rates_of_the_next_update_are_told_by_group():
    start, gradients = numbers()
    optimizer = TorchSGD(groups(start), schedule)
    run(optimizer, gradients[:3])
    assert optimizer.learning_rates() == pytest.approx(
        {f"group{place}": learning_rate(3, multiplier) for place, multiplier in enumerate(MULTIPLIERS)}, rel=1e-6
    )


def test_a_rate_is_the_schedule_of_its_own_product_bit_for_bit():
    optimizer = TorchSGD(
        groups(numbers()[0]), lambda multiplier: build_schedule(0.01 * multiplier, horizon=7, power=0.9)
    )
    for step in range(7):
        optimizer.iterations.assign(step)
        for place, product in enumerate((0.01, 0.01 * 10.0)):
            of_keras = keras.optimizers.schedules.PolynomialDecay(product, 7, end_learning_rate=0.0, power=0.9)
            assert optimizer.learning_rates()[f"group{place}"] == float(of_keras(step))


def test_a_weight_cannot_be_in_two_groups():
    group = groups(numbers()[0])[0]
    with pytest.raises(ValueError, match="a weight is in two of the groups"):
        TorchSGD([group, group], schedule)


def test_norms_and_position_embeddings_need_not_decay():
    layers = [
        keras.layers.LayerNormalization(name="norm"),
        keras.layers.Dense(2, name="dense"),
        keras.layers.Embedding(3, 2, name="position_embedding"),
    ]
    for layer in layers:
        layer.build((1, 2))
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    every, some = (TorchSGD([ParameterGroup("all", variables)], schedule, weight_decay=0.1, decay_all=all_of_them)
                   for all_of_them in (True, False))  # fmt: skip
    assert every.weight_decays == (0.1,) * 5
    decays = dict(zip((variable.path for variable in variables), some.weight_decays, strict=True))
    assert decays == {
        "norm/gamma": 0, "norm/beta": 0, "dense/kernel": 0.1, "dense/bias": 0.1, "position_embedding/embeddings": 0,
    }  # fmt: skip


def clipped_run(strategy: tf.distribute.Strategy, gradients: np.ndarray, clip_norm: float) -> list[np.ndarray]:
    """Returns the weights after updates by the mean of the replicas' gradients [step, replica, group, weight]."""
    with strategy.scope():
        optimizer = TorchSGD(groups(numbers()[0]), schedule, clip_norm=clip_norm)

    @tf.function
    def update(of_step):
        def in_replica():
            context = tf.distribute.get_replica_context()
            own = of_step[context.replica_id_in_sync_group] / context.num_replicas_in_sync
            optimizer.apply(tf.unstack(own))

        strategy.run(in_replica)

    for of_step in gradients:
        update(tf.constant(of_step))
    return [np.asarray(variable) for group in optimizer.groups for variable in group.variables]


@pytest.mark.parametrize("clip_norm", [0.5, 1e3], ids=["clipped", "not clipped"])
def test_clipping_scales_the_gradients_of_all_groups_by_their_common_norm(clip_norm):
    start, gradients = numbers()
    norms = np.sqrt(np.sum(gradients.astype(np.float64) ** 2, (1, 2), keepdims=True))
    scaled = gradients * np.minimum(clip_norm / (norms + 1e-6), 1)
    ours = run(TorchSGD(groups(start), schedule, momentum=0.9, clip_norm=clip_norm), gradients)
    for own, wanted in zip(ours, expected(sgd, start, scaled), strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-6)


def test_two_replicas_are_clipped_by_the_norm_of_their_mean(two_replicas):
    of_replicas = np.random.default_rng(1).standard_normal((STEPS, 2, len(MULTIPLIERS), 6)).astype("f")
    of_replicas[:, 1] += [[3.0], [-3.0]]  # each replica's norm is far from that of the mean
    mean = of_replicas.mean(1, keepdims=True)
    on_one = clipped_run(tf.distribute.get_strategy(), mean, 0.5)
    for one, two in zip(on_one, clipped_run(two_replicas, of_replicas, 0.5), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-6)


class AtIterations(Schedule):
    """The rates of some iterations of another schedule, one an update."""

    def __init__(self, schedule: Schedule, iterations: np.ndarray):
        self.schedule, self.iterations = schedule, iterations

    def __call__(self, step):
        return self.schedule(tf.gather(self.iterations, step))


def test_adamw_is_torchs():
    golden = shared.load("ops_adamw")
    setting = {name.removeprefix("arg_"): value.tolist() for name, value in golden.items() if name.startswith("arg_")}

    def draw(offset, shape):
        return np.random.Generator(np.random.PCG64(setting["seed"] + offset)).standard_normal(shape).astype("f")

    def warmed_up(multiplier):
        warmup = {"warmup_iterations": setting["warmup"], "warmup_start": setting["warmup_ratio"]}
        rates = build_schedule(setting["base"] * multiplier, "linear", horizon=setting["total"], power=0.0, **warmup)
        return AtIterations(rates, np.array(setting["iterations"]))

    kernel, bias = (keras.Variable(golden[name][0], name=name) for name in ("kernel", "bias"))
    beta_1, beta_2 = setting["betas"]
    optimizer = TorchAdamW(
        [ParameterGroup("kernel", [kernel], weight_decay=setting["weight_decay"]), ParameterGroup("bias", [bias])],
        warmed_up,
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=setting["eps"],
    )
    np.testing.assert_array_equal(draw(0, setting["shape"]), golden["kernel"][0])
    for step, rate in enumerate(golden["lr"]):
        assert optimizer.learning_rates()["kernel"] == pytest.approx(rate, rel=1e-6)
        before = [variable.numpy() for variable in (kernel, bias)]
        shapes = (setting["shape"], setting["shape"][1:])
        gradients = [draw(10 + 2 * step + place, shape) for place, shape in enumerate(shapes)]
        optimizer.apply([tf.constant((gradient * golden["gradient_scale"]).astype("f")) for gradient in gradients])
        for ours, old, wanted in zip((kernel, bias), before, (golden["kernel"], golden["bias"]), strict=True):
            update = wanted[step + 1] - wanted[step]
            np.testing.assert_allclose(np.asarray(ours) - old, update, rtol=1e-4, atol=5e-7)
