"""Learning rates against their formulas in float64."""

import numpy as np
import pytest

from fada_tf.optimizers.schedules import build_schedule
from tests.optimizers import shared

ITERATIONS = (0, 1, 50, 99, 100, 101, 500, 999, 1000, 2000)


def factor(name: str, iteration: int, warmup: int, start: float) -> float:
    left = 1 - min(iteration, 1000) / 1000
    rate = {"poly": left**0.9, "linear": left, "constant": 1.0}[name]
    return rate * (1 - (1 - iteration / warmup) * (1 - start) if iteration < warmup else 1)


@pytest.mark.parametrize(("warmup", "start"), [(0, 0.0), (100, 0.0), (100, 1e-6)])
@pytest.mark.parametrize("name", ["poly", "linear", "constant"])
def test_rates_follow_their_formulas(name, warmup, start):
    schedule = build_schedule(2.5e-4, name, horizon=1000, power=0.9, warmup_iterations=warmup, warmup_start=start)
    ours = [float(schedule(iteration)) for iteration in ITERATIONS]
    wanted = [2.5e-4 * factor(name, iteration, warmup, start) for iteration in ITERATIONS]
    np.testing.assert_allclose(ours, wanted, rtol=2e-5)


def test_poly_ends_at_0_399_of_the_base_in_the_paper():
    schedule = build_schedule(2.5e-4, horizon=62_500, power=0.9)
    np.testing.assert_allclose(float(schedule(0)), 2.5e-4, rtol=1e-6)
    np.testing.assert_allclose(float(schedule(40_000)) / 2.5e-4, (1 - 40 / 62.5) ** 0.9, rtol=1e-5)


@pytest.mark.parametrize(("name", "table"), [("linear", "poly_warmup"), ("poly", "poly_warmup_power_09")])
def test_warm_up_is_that_of_the_peers(name, table):
    golden = shared.load("ops_adamw")
    schedule = build_schedule(
        1.0,
        name,
        horizon=golden["arg_total"].item(),
        power=0.9,
        warmup_iterations=golden["arg_warmup"].item(),
        warmup_start=golden["arg_warmup_ratio"].item(),
    )
    ours = [float(schedule(iteration)) for iteration in golden["table_iterations"]]
    # Of 1 - 39,999 / 40,000, float32 has 24 bits less the 15 that cancel.
    np.testing.assert_allclose(ours, golden[f"table_{table}"], rtol=2e-3)
    np.testing.assert_allclose(ours[:-2], golden[f"table_{table}"][:-2], rtol=1e-6)
