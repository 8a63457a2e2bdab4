"""Mix Transformers and the heads of SegFormer and DAFormer, against Transformers' and against DAFormer's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fada_tf.models import head_layers, transformer_layers
from fada_tf.models.backbones import mit
from fada_tf.models.heads.daformer import daformer
from fada_tf.models.heads.segformer import segformer
from fada_tf.models.layers import resize
from fada_tf.models.published_weights import to_published
from fada_tf.models.recomputation import recomputed
from fada_tf.optimizers.groups import is_norm_or_position, layer_multipliers
from tests.goldens import multi_scale_heads as heads
from tests.goldens import recipe

TOLERANCE = 1e-4  # of an array's largest value, and of a gradient's norm
HUGGING_FACE, AUTHORS = mit.VARIANTS["mit_b0"].published


def error(golden: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> float:
    return float(max(np.abs(golden[key] - value).max() / np.abs(golden[key]).max() for key, value in values.items()))


def assert_norms(golden, kind: str, norms: dict[str, float]) -> None:
    """Compares norms of gradients; those that are 0 in exact arithmetic are rounding alone."""
    names, expected, exact = golden["grad_names"], golden[kind], golden[f"{kind}_float64"]
    assert set(norms) == set(names)
    found = np.array([norms[name] for name in names])
    np.testing.assert_allclose(found[exact > 1e-6], expected[exact > 1e-6], rtol=TOLERANCE)
    assert found[exact <= 1e-6].max(initial=0) < 1e-6


def build_backbone(variant: str, seed: int) -> keras.Model:
    definition = mit.VARIANTS[variant]
    backbone = definition.build(variant, "frozen", np.random.default_rng(0), heads.STRIDES)
    recipe.assign_published(definition.published[0], backbone, seed)
    return backbone


def inputs_of(golden) -> list[tf.Tensor]:
    """Returns images [n, height, width, 3] and draws."""
    n, height, width, seed = (int(golden[f"arg_{name}"]) for name in ("n", "h", "w", "seed"))
    image = recipe.image(seed + 10, (n, 3, height, width))
    return [tf.constant(recipe.channels_last(image)), tf.zeros([n], tf.int64)]


def stages(backbone: keras.Model, inputs: list[tf.Tensor]) -> dict[str, np.ndarray]:
    """Returns, in the layouts of forward_mit_*.npz, what such a file holds of the four maps."""
    values = {}
    for stage, each in enumerate(map(np.asarray, backbone(inputs)), start=1):
        values[f"stage{stage}_mean"] = each.mean((1, 2))
        values[f"stage{stage}_std"] = each.std((1, 2), ddof=1)
        values[f"stage{stage}_slice"] = np.moveaxis(each[..., :8], -1, 1)
    return values


@pytest.fixture(scope="module")
def b0():
    golden = recipe.load("forward_mit_b0")
    return golden, build_backbone("mit_b0", int(golden["arg_seed"]))


def test_the_maps_of_b0_are_those_of_transformers(b0):
    golden, backbone = b0
    values = stages(backbone, inputs_of(golden))
    assert set(values) == {key for key in golden if not key.startswith("arg_")}
    assert error(golden, values) < TOLERANCE


@pytest.mark.slow
def test_the_maps_of_b1_are_those_of_transformers():
    golden = recipe.load("forward_mit_b1")
    values = stages(build_backbone("mit_b1", int(golden["arg_seed"])), inputs_of(golden))
    assert error(golden, values) < TOLERANCE


def spoil_gelu(monkeypatch, backbone):
    monkeypatch.setattr(transformer_layers, "_gelu", lambda values: tf.nn.gelu(values, approximate=True))


def spoil_epsilon(monkeypatch, backbone):
    for layer in backbone.layers:
        if isinstance(layer, transformer_layers.LayerNorm):
            monkeypatch.setattr(layer, "epsilon", 1e-3)


def spoil_what_the_reduction_drops(monkeypatch, backbone):
    plain = transformer_layers.Dense._cells

    def padded(layer, images):
        missing = [[0, -side % layer.cell] for side in images.shape[1:3]]
        return plain(layer, tf.pad(images, [[0, 0], *missing, [0, 0]]))

    monkeypatch.setattr(transformer_layers.Dense, "_cells", padded)


def spoil_heads(monkeypatch, backbone):
    monkeypatch.setattr(backbone.get_layer("block2_0_attention"), "heads", 1)


@pytest.mark.parametrize("spoil", [spoil_gelu, spoil_epsilon, spoil_what_the_reduction_drops, spoil_heads])
def test_the_tolerance_sees_faults(b0, monkeypatch, spoil):
    golden, backbone = b0
    spoil(monkeypatch, backbone)
    assert error(golden, stages(backbone, inputs_of(golden))) > TOLERANCE


@pytest.mark.parametrize("size", ["b0", pytest.param("b1", marks=pytest.mark.slow)])
def test_segformer_is_that_of_transformers(size):
    golden = recipe.load(f"forward_segformer_head_{size}")
    seed, classes = int(golden["arg_seed"]), int(golden["arg_K"])
    backbone, inputs = build_backbone(f"mit_{size}", seed), inputs_of(golden)
    channels = [output.shape[-1] for output in backbone.outputs]
    head = heads.build(segformer(256, dropout=0), channels, classes, seed + 1, heads.SEGFORMER)
    labels = recipe.coarse_labels(seed + 20, classes, inputs[0].shape[:3])
    models = {"segformer": backbone, "decode_head": head}
    variables = [variable for model in models.values() for variable in model.trainable_variables]

    def run(training):
        with tf.GradientTape() as tape:
            logits = head([*backbone(inputs), inputs[1]], training=training)
            loss = heads.loss(logits, labels)
        gradients = zip(variables, tape.gradient(loss, [variable.value for variable in variables]), strict=True)
        by_path = {variable.path: np.asarray(gradient) for variable, gradient in gradients}
        norms = heads.gradient_norms(head, by_path, heads.SEGFORMER)
        return np.asarray(logits), float(loss), by_path, {f"decode_head.{name}": norm for name, norm in norms.items()}

    found = [run(training) for training in (False, True)]
    logits, loss, _, _ = found[0]
    full = np.asarray(resize(logits, labels.shape[1:], align_corners=False))
    values = {
        "logits": np.moveaxis(logits, -1, 1),
        "logits_full_mean": full.mean((1, 2)),
        "logits_full_slice": np.moveaxis(full[:, ::8, ::8], -1, 1),
        "loss": loss,
        "loss_train": found[1][1],
        "logits_train_mean": found[1][0].mean((1, 2)),
        "logits_train_std": found[1][0].std((1, 2), ddof=1),
    }
    assert error(golden, values) < TOLERANCE
    for kind, (_, _, by_path, norms) in zip(("grad_norms", "grad_norms_train"), found, strict=True):
        for variable in backbone.variables:  # the names of gradients are those of the weights
            variable.assign(by_path[variable.path])
        of_backbone = to_published(HUGGING_FACE, backbone).items()
        norms |= {f"segformer.{name}": float(np.linalg.norm(np.ravel(value))) for name, value in of_backbone}
        assert_norms(golden, kind, norms)


def daformer_of(golden, spoil=lambda head: None):
    """Returns the head, its inputs and labels, of a golden file."""
    seed, classes, n = (int(golden[f"arg_{name}"]) for name in ("seed", "K", "n"))
    channels, sizes = golden["arg_in_channels"], golden["arg_feature_sizes"]
    head = heads.build(daformer(int(golden["arg_channels"]), dropout=0), channels, classes, seed, heads.DAFORMER)
    shapes = [(n, int(count), *map(int, size)) for count, size in zip(channels, sizes, strict=True)]
    features = [
        tf.constant(recipe.channels_last(recipe.image(seed + 20 + place, shape))) for place, shape in enumerate(shapes)
    ]
    labels = recipe.coarse_labels(seed + 30, classes, (n, int(golden["arg_h"]), int(golden["arg_w"])))
    return head, [*features, tf.zeros([n], tf.int64)], labels


@pytest.mark.parametrize("size", ["b0", pytest.param("b5", marks=pytest.mark.slow)])
def test_daformers_head_is_its_own(size):
    golden = recipe.load(f"forward_daformer_head_{size}")
    head, inputs, labels = daformer_of(golden)
    variables, features = head.trainable_variables, inputs[:-1]
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = head(inputs, training=False)
        loss = heads.loss(logits, labels, float(labels.size))
    gradients = tape.gradient(loss, [*(variable.value for variable in variables), *features])
    values = {
        "logits": np.moveaxis(logits, -1, 1),
        "loss_over_all_pixels": float(loss),
        "loss_over_valid_pixels": float(heads.loss(logits, labels)),
    }
    assert error(golden, values) < TOLERANCE
    of_variables = zip(variables, gradients[: len(variables)], strict=True)
    norms = heads.gradient_norms(head, {one.path: np.asarray(other) for one, other in of_variables}, heads.DAFORMER)
    of_features = enumerate(gradients[len(variables) :])
    assert_norms(golden, "grad_norms", norms | {f"feature{place}": float(tf.norm(each)) for place, each in of_features})


def spoil_dilation(monkeypatch, head):
    monkeypatch.setattr(head.get_layer("aspp_12_depthwise"), "dilation", 11)


def spoil_corners(monkeypatch, head):
    monkeypatch.setattr(head_layers, "resize", lambda x, size, align_corners: resize(x, size, align_corners=True))


def spoil_batch_norm(monkeypatch, head):
    for layer in head.layers:
        if hasattr(layer, "moving_variance"):
            monkeypatch.setattr(layer, "epsilon", 1e-3)


@pytest.mark.parametrize("spoil", [spoil_dilation, spoil_corners, spoil_batch_norm])
def test_the_tolerance_sees_faults_of_a_head(monkeypatch, spoil):
    golden = recipe.load("forward_daformer_head_b0")
    head, inputs, _ = daformer_of(golden)
    spoil(monkeypatch, head)
    assert error(golden, {"logits": np.moveaxis(head(inputs, training=False), -1, 1)}) > TOLERANCE


@pytest.mark.parametrize("size", ["b0", pytest.param("b1", marks=pytest.mark.slow)])
def test_state_dicts_have_the_names_and_shapes_of_transformers(b0, size):
    backbone = b0[1] if size == "b0" else build_backbone("mit_b1", 0)
    shapes = {name: list(value.shape) for name, value in to_published(HUGGING_FACE, backbone).items()}
    assert shapes == recipe.state_dict_names("state_dict_names_2")[f"mit_{size}"]["segformer"]


def test_key_and_value_of_the_authors_are_one_tensor_the_key_first(b0):
    _, backbone = b0
    theirs, others = to_published(AUTHORS, backbone), to_published(HUGGING_FACE, backbone)
    kernel, bias = theirs["block2.1.attn.kv.weight"], theirs["block2.1.attn.kv.bias"]
    parts = [f"encoder.block.1.1.attention.self.{part}" for part in ("key", "value")]
    np.testing.assert_array_equal(kernel, np.concatenate([others[f"{part}.weight"] for part in parts]))
    np.testing.assert_array_equal(bias, np.concatenate([others[f"{part}.bias"] for part in parts]))
    assert theirs["block2.1.mlp.dwconv.dwconv.weight"].shape == (256, 1, 3, 3)
    assert theirs["patch_embed1.proj.weight"].shape == (32, 3, 7, 7)
    assert {"norm4.bias", "block1.0.attn.sr.weight", "block1.0.attn.norm.weight"} <= theirs.keys()


MILLIONS = {"mit_b0": 3.3, "mit_b1": 13.2, "mit_b2": 24.2, "mit_b3": 44.1, "mit_b4": 60.8, "mit_b5": 81.4}


@pytest.mark.slow
def test_all_sizes_have_the_parameters_of_the_paper():
    millions = {
        name: backbone.build(name, "frozen", np.random.default_rng(0), heads.STRIDES).count_params() / 1e6
        for name, backbone in mit.VARIANTS.items()
    }
    assert {name: round(value, 1) for name, value in millions.items()} == MILLIONS


@pytest.fixture(scope="module")
def small():
    """Returns a network of few channels, with the blocks of B0."""
    return mit.mix_transformer((8, 16, 40, 64), 2, 2, 2, 2)


@pytest.fixture(scope="module")
def small_model(small):
    return small.build("small", "frozen", np.random.default_rng(0), heads.STRIDES)


@pytest.mark.parametrize(
    "size", [(20, 47), *(pytest.param(size, marks=pytest.mark.slow) for size in ((33, 100), (1, 1)))]
)
def test_images_may_have_any_size_also_below_a_reduction(small_model, size):
    images = tf.constant(recipe.channels_last(recipe.image(0, (2, 3, *size))))
    draws = tf.zeros([2], tf.int64)
    maps = small_model([images, draws])
    for stride, each in zip(heads.STRIDES, maps, strict=True):
        assert each.shape[1:3] == tuple(-(-side // stride) for side in size)
        assert np.isfinite(each).all()
    spec = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None], tf.int64)]
    dynamic = tf.function(lambda images, draws: small_model([images, draws]), input_signature=spec)
    for one, other in zip(maps, dynamic(images, draws), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_norms_are_told_from_what_decays(small_model):
    spared = {variable.path for variable in small_model.variables if is_norm_or_position(variable)}
    layers = [layer for layer in small_model.layers if isinstance(layer, transformer_layers.LayerNorm)]
    assert spared == {f"{layer.name}/{name}" for layer in layers for name in ("gamma", "beta")}
    assert len(layers) == 4 * 2 + 3 * 2 + 8 * 2  # of patches and stages, reductions, and blocks


def test_layer_decay_falls_from_block_to_block(small, small_model):
    multiplier_of = layer_multipliers(small_model, small.block_ends, 0.5)
    found = {variable.path: multiplier_of(variable) for variable in small_model.trainable_variables}
    assert found["norm4/gamma"] == found["block4_1_query/kernel"] == 1
    assert found["block4_0_output/bias"] == found["patches4/kernel"] == 0.5
    assert found["block1_0_norm1/gamma"] == found["patches1/kernel"] == 0.5**7


def test_recomputation_draws_the_same_and_changes_no_gradient(small, small_model):
    images = tf.constant(recipe.channels_last(recipe.image(0, (2, 3, 64, 80))))
    draws = tf.constant([3, 2**40], tf.int64)
    variables = [variable.value for variable in small_model.trainable_variables]

    def gradients(run):
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(tf.sin(each)) for each in run(images, draws)])
        return tape.gradient(loss, variables)

    plain = gradients(lambda images, draws: small_model([images, draws], training=True))
    others = {
        "recomputed": gradients(recomputed(small_model, small.block_ends)),
        "without drop path": gradients(lambda images, draws: small_model([images, draws], training=False)),
    }
    scales = [1e-3 * np.abs(one).max() for one in plain]

    def same(other):
        return all(np.abs(a - b).max() <= scale for a, b, scale in zip(plain, other, scales, strict=True))

    assert {name: same(other) for name, other in others.items()} == {"recomputed": True, "without drop path": False}


def test_hidden_pixels_have_finite_gradients_before_anything_is_learned(small_model):
    """Layer norms of zeros would multiply them by 300, one after the other."""
    draws = tf.zeros([1], tf.int64)

    def size_of_gradients(images):
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_mean(tf.sin(each)) for each in small_model([images, draws], training=True)])
        variables = [variable.value for variable in small_model.trainable_variables]
        return float(tf.linalg.global_norm(tape.gradient(loss, variables)))

    images = tf.constant(recipe.channels_last(recipe.image(0, (1, 3, 64, 96))))
    hidden = tf.concat([images[:, :, :32], tf.zeros_like(images[:, :, 32:])], axis=2)
    sizes = [size_of_gradients(each) for each in (images, hidden, tf.zeros_like(images))]
    assert max(sizes) < 100 * sizes[0]


@pytest.mark.slow
def test_xla_changes_no_gradient(small, small_model):
    # With a single key, the gradients of queries are but what rounding leaves of zero.
    images = tf.constant(recipe.channels_last(recipe.image(0, (2, 3, 64, 80))))
    draws = tf.constant([3, 2**40], tf.int64)
    variables = [variable.value for variable in small_model.trainable_variables]

    def gradients():
        with tf.GradientTape() as tape:
            maps = small_model([images, draws], training=True)
            loss = tf.add_n([tf.reduce_sum(tf.sin(each)) for each in maps])
        return tape.gradient(loss, variables)

    for one, other in zip(gradients(), tf.function(gradients, jit_compile=True, autograph=False)(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3 * np.abs(one).max())


def test_half_precision_keeps_norms_softmaxes_and_logits_in_float32(small):
    images = tf.constant(recipe.channels_last(recipe.image(0, (1, 3, 32, 40))))
    draws = tf.zeros([1], tf.int64)
    found = {}
    for policy in ("float32", "mixed_bfloat16"):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = small.build("small", "frozen", np.random.default_rng(0), heads.STRIDES)
            head = segformer(16).build({4: 8, 8: 16, 16: 40, 32: 64}, 3, "frozen", np.random.default_rng(1))
        finally:
            keras.config.set_dtype_policy(before)
        maps = model([images, draws])
        found[policy] = head([*maps, draws])
        assert {each.dtype.name for each in maps} == {policy.removeprefix("mixed_")}
        assert found[policy].dtype == tf.float32
    scale = np.abs(found["float32"]).max()
    assert np.abs(found["float32"] - found["mixed_bfloat16"]).max() < 0.05 * scale


def test_dropout_leaves_out_whole_channels_by_draw():
    layer = head_layers.ChannelDropout(0.25, seed=3, name="dropout")
    features, draws = tf.ones([3, 2, 4, 400]), tf.constant([0, 1, 2**33], tf.int64)
    dropped = layer([features, draws], training=True).numpy()
    assert set(np.unique(dropped)) == {0, np.float32(1 / 0.75)}
    assert (dropped == dropped[:, :1, :1]).all()
    assert (np.abs((dropped[:, 0, 0] == 0).mean(axis=1) - 0.25) < 0.1).all()
    assert (dropped[0] != dropped[1]).any() and (dropped[1] != dropped[2]).any()
    np.testing.assert_array_equal(layer([features[1:], draws[1:]], training=True), dropped[1:])
    np.testing.assert_array_equal(layer([features, draws], training=False), features)
