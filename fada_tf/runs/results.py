"""Where in a run directory lies what was measured of the run: by all that decides the numbers.

RUN/scores/RECORDS-DIGEST/WIDTHxHEIGHT[_SCALES][_flip][_WINDOWS][_NETWORK]/ITERATION has scores.json, scores.csv (and
conditions.csv), RUN/features/TARGET-DIGEST/SOURCE-DIGEST_WIDTHxHEIGHT_IMAGES/ITERATION ccd.json and ccd.csv. The JSON
files hold the same once more, with whole digests, and whoever reads them checks it.
"""

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from fada_tf.data import files, manifest
from fada_tf.errors import InputError
from fada_tf.runs import layout
from fada_tf.windows import Windows

SCORES_FILE, SCORES_TABLE, CONDITIONS_TABLE = "scores.json", "scores.csv", "conditions.csv"
CCD_FILE, CCD_TABLE = "ccd.json", "ccd.csv"
CHECKPOINTS_TABLE = "checkpoints.csv"
PAPER_SCALES = (0.7, 1.0, 1.3)  # https://github.com/JDAI-CV/FADA/blob/a1c6403/test.py#L46


@dataclasses.dataclass(frozen=True)
class Scoring:
    """All that decides a run's scores, beside its checkpoint.

    Attributes:
      records: folder of the labelled shards.
      height: pixels, that images are resized to; 0: they keep their own size.
      width: as `height`.
      scales: factors on that size, averaged.
      flip: whether mirrored images are averaged as well.
      network: "student" or "teacher"; None: the run's own choice.
      windows: that images are seen by; None: whole.
    """

    records: str
    height: int
    width: int
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    network: str | None = None
    windows: Windows | None = None

    def folder(self, run: str) -> str:
        """Returns the folder of the scores of all checkpoints of a run directory."""
        scales = "" if self.scales == (1.0,) else "".join(f"_{scale:g}" for scale in self.scales)
        more = ["flip"] * self.flip + [str(each) for each in (self.windows, self.network) if each]
        place = "_".join([f"{self.size}{scales}", *more])
        return os.path.join(run, layout.SCORES, _name(self.records, with_classes=True), place)

    @property
    def size(self) -> str:
        """What images are resized to, as people read it."""
        return f"{self.width}x{self.height}" if self.height else "own_size"

    def key(self) -> dict[str, Any]:
        """Returns what scores.json must say."""
        views = {"scales": list(self.scales), "flip": self.flip} | ({"network": self.network} if self.network else {})
        views |= self.windows.texts if self.windows else {}
        digest = manifest.digest(self.records, with_classes=True)
        return {"records_sha256": digest, "height": self.height, "width": self.width} | views


def multi_scale(scoring: Scoring) -> Scoring:
    """Returns the paper's test-time augmentation at the same size."""
    return dataclasses.replace(scoring, scales=PAPER_SCALES, flip=True)


@dataclasses.dataclass(frozen=True)
class Analysis:
    """All that decides a run's class center distances, beside its checkpoint.

    Attributes:
      source: folder of labelled source shards.
      target: folder of labelled target shards.
      height: pixels, that images are resized to.
      width: as `height`.
      images: of each domain; 0: all.
      feature_stride: of the map; 0: that of the run.
    """

    source: str
    target: str
    height: int
    width: int
    images: int = 500
    feature_stride: int = 0

    def folder(self, run: str) -> str:
        """Returns the folder of the results of all checkpoints of a run directory."""
        stride = f"_stride{self.feature_stride}" if self.feature_stride else ""
        settings = f"{_name(self.source)}_{self.width}x{self.height}_{self.images or 'all'}{stride}"
        return os.path.join(analyses_folder(run, self.target), settings)

    def key(self) -> dict[str, Any]:
        """Returns what ccd.json must say."""
        digests = {f"{name}_sha256": manifest.digest(getattr(self, name)) for name in ("source", "target")}
        stride = {"feature_stride": self.feature_stride} if self.feature_stride else {}
        return digests | {"height": self.height, "width": self.width, "images": self.images} | stride


def path(how: Scoring | Analysis, run: str, iteration: int) -> str:
    """Returns the JSON file of a checkpoint's results."""
    name = SCORES_FILE if isinstance(how, Scoring) else CCD_FILE
    return os.path.join(how.folder(run), str(iteration), name)


def undescribed(scoring: Scoring, run: str) -> str:
    """Returns the scores that earlier versions wrote, which do not say what decided them."""
    return os.path.join(run, layout.SCORES, os.path.basename(os.path.normpath(scoring.records)), SCORES_FILE)


def analyses_folder(run: str, target: str) -> str:
    """Returns the folder of a run's class center distances with some target records, whatever the other settings."""
    return os.path.join(run, layout.FEATURES, _name(target))


def find(how: Scoring | Analysis, run: str, iteration: int, **more: Any) -> dict | None:
    """Reads a checkpoint's results; None if there are none.

    Args:
      how: it was measured.
      run: the run directory.
      iteration: of the checkpoint.
      **more: other values that the file must have.

    Raises:
      InputError: the file has others, or cannot be read.
    """
    file = path(how, run, iteration)
    return read(file, how.key() | {"iteration": iteration} | more) if files.exists(file) else None


def read(path: str, key: Mapping[str, Any]) -> dict:
    """Reads a JSON file of results, which must have the values of `key`.

    Raises:
      InputError: it has others, or cannot be read.
    """
    try:
        content = files.read_json(path)
        different = [name for name, value in key.items() if content.get(name) != value]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}): delete it, and measure the run again") from error
    if different:
        raise InputError(
            f"{path} was measured with another {' and '.join(different)} ({_listed(content, different)}; wanted is "
            f"{_listed(key, different)}): delete it, and measure the run again"
        )
    return content


def _listed(content: Mapping[str, Any], names: list[str]) -> str:
    return ", ".join(str(content.get(name, "nothing"))[:12] for name in names)


def _name(records: str, *, with_classes: bool = False) -> str:
    digest = ""
    with contextlib.suppress(InputError):  # a dry run names records that are still to be made
        digest = f"-{manifest.digest(records, with_classes=with_classes)[:8]}"
    names = [os.path.basename(os.path.normpath(folder)) for folder in manifest.folders(records)]
    return "+".join(names) + digest
