"""Domain-adaptive semantic segmentation: `fada_tf.load` for what was trained, `fada_tf.adapt` for photos of your own.

Importing the package imports neither TensorFlow nor anything else: what it offers does, when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fada_tf.api.adaptation import adapt as adapt
    from fada_tf.api.loading import load as load

_OFFERED = {"adapt": "fada_tf.api.adaptation", "load": "fada_tf.api.loading"}


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f"module 'fada_tf' has no attribute {name!r}: it offers {', '.join(_OFFERED)}")
    importlib.import_module("fada_tf.machine").quiet_tensorflow()
    return getattr(importlib.import_module(_OFFERED[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_OFFERED]
