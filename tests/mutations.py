"""Hypothesis draws of input that is nearly good."""

import hypothesis
import hypothesis.strategies as st

EXAMPLES = 60

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def fuzz(test):
    """Marks a property test that tries the same examples on every machine."""
    checks = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]
    settings = hypothesis.settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=checks)
    return settings(test)


def damaged(draw, data: bytes) -> bytes:
    """Returns the data with bytes replaced, cut out, put in or cut off."""
    content = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, max(len(content) - 1, 0)))
        kind, piece = draw(st.sampled_from(["replace", "insert", "delete", "cut"])), draw(st.binary(max_size=6))
        if kind == "cut":
            del content[position:]
        else:
            content[position : position + (0 if kind == "insert" else len(piece))] = b"" if kind == "delete" else piece
    return bytes(content)


def replaced(draw, values):
    """Returns JSON values with one of them, at any depth, replaced by any other."""
    if isinstance(values, dict | list) and values and draw(st.integers(0, 3)):
        keys = list(values) if isinstance(values, dict) else range(len(values))
        key = draw(st.sampled_from(keys))
        changed = values.copy()
        changed[key] = replaced(draw, values[key])
        return changed
    return draw(json_values)
