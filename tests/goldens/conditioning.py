"""How far rounding alone takes two programs that compute the same thing, and so what the golden tests allow.

`python -m tests.goldens.conditioning` writes conditioning.json: each golden step and forward pass is done again with
images and weights changed by 1e-7 of their values, as float32 rounds them, with several draws of random signs; the
largest error of each kind is kept. Frozen batch norm hardly passes changes on until the input of one ReLU crosses zero,
which takes some of the draws; batch statistics of few images make changes ten thousand times larger.
"""

import json
import pathlib

import numpy as np

from fada_tf.models.segmenter import build_segmenter
from tests.goldens import forward, recipe, steps

FILE = pathlib.Path(__file__).parent / "conditioning.json"
CHANGE = 1e-7
DRAWS = 4
# Another program rounds every layer's results, not the inputs alone.
MULTIPLE = 5
# What rounding does where a change of the inputs happens to do nothing, as a share of the value: of losses and outputs,
# hundreds of roundings; of updates, those of the passes there and back; of a gradient's norm, one ReLU that flips.
ROUNDING = {"losses": 1e-5, "outputs": 1e-5, "norms": 1e-4, "sums": 1e-4, "gradients": 1e-3}


def tolerances(name: str) -> dict[str, np.ndarray]:
    """Returns what a golden test allows, in the form of the errors of `steps` and, as "outputs", of `forward`."""
    return {
        kind: MULTIPLE * np.array(spread) + ROUNDING[kind]
        for kind, spread in json.loads(FILE.read_text())[name].items()
    }


def measure_steps(name: str) -> dict[str, list[float]]:
    """Returns the largest errors that changes of the inputs cause."""
    taken = steps.Steps(name)
    exact = taken.take()
    found = [steps.errors(exact, taken.take(np.random.default_rng(seed), CHANGE)) for seed in range(DRAWS)]
    return {kind: np.max([draw[kind] for draw in found], axis=0).tolist() for kind in found[0]}


def measure_forward(name: str) -> dict[str, float]:
    """Returns the largest error, of any output, that changes of the inputs cause."""
    golden, (backbone, batch_norm) = recipe.load(name), forward.FORWARD[name]
    segmenter = build_segmenter(backbone, int(golden["num_classes"]), batch_norm)
    modules = forward.build_modules(segmenter, int(golden["seed"]))
    weights = [(variable, np.array(variable.numpy())) for model in modules.values() for variable in model.variables]
    exact = forward.values(modules, golden["image"])
    largest = 0.0
    for seed in range(DRAWS):
        noise = np.random.default_rng(seed)

        def changed(value, noise=noise):
            return (value * (1 + CHANGE * noise.choice([-1.0, 1.0], value.shape))).astype(np.float32)

        for variable, value in weights:
            variable.assign(changed(value) if value.dtype == np.float32 else value)
        errors = forward.errors(exact, forward.values(modules, changed(golden["image"])))
        largest = max(largest, *errors.values())
    return {"outputs": largest}


def rounded(values):
    """Returns numbers of the file with two digits."""
    return [rounded(value) for value in values] if isinstance(values, list) else float(f"{values:.1e}")


def main() -> None:
    """Measures all golden files, a line each."""
    found = {}
    for names, measure in ((forward.FORWARD, measure_forward), (steps.STEPS, measure_steps)):
        for name in names:
            found[name] = {kind: rounded(value) for kind, value in measure(name).items()}
            print(name, found[name], flush=True)
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
