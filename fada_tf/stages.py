"""The stages of an experiment: what each starts from, and whose pseudo labels it reads."""

import dataclasses
import re
from collections.abc import Sequence

from fada_tf.errors import InputError

_INSIDE_A_RUN = re.compile(r"best|(best|checkpoints)/ckpt-\d+")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of an experiment, as STAGES of its file lists them; where their runs lie is not said here.

    Attributes:
      name: what `get_config` of the file is called with, and the name of the run directory.
      start: the earlier stage whose newest checkpoint has the initial weights, or STAGE/best; empty: what the config
        of the stage says.
      pseudo_labels: the earlier stage, or STAGE/best, that labels the target images first, into the records that the
        config of this one trains on; empty: none.
      unlabelled: folder of the records that it labels; empty: those that it was trained on.
      title: for people; empty: the name.
    """

    name: str
    start: str = ""
    pseudo_labels: str = ""
    unlabelled: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name)


def check_stages(stages: Sequence[Stage], path: str) -> None:
    """Checks the stages that a file declares.

    Args:
      stages: in order.
      path: of the file.

    Raises:
      InputError: there is none, or one has a name that cannot be, or comes after no such stage.
    """
    if not isinstance(stages, (tuple, list)) or not stages or not all(isinstance(stage, Stage) for stage in stages):
        raise InputError(f"STAGES of {path} is {stages!r}: it should list a fada_tf.stages.Stage for each stage")
    names: list[str] = []
    for stage in stages:
        if not re.fullmatch(r"[\w.-]+", stage.name) or stage.name in names:
            raise InputError(
                f"{path} has a stage {stage.name!r}: give each a name of its own, of letters, digits, . _ -"
            )
        for field in ("start", "pseudo_labels"):
            before, slash, inside = (reference := getattr(stage, field)).partition("/")
            if reference and before not in names:
                raise InputError(
                    f"{path}: {field} of stage {stage.name!r} is {reference!r}, and no stage before it is: "
                    f"choose from {', '.join(names) or 'none'}"
                )
            if slash and not _INSIDE_A_RUN.fullmatch(inside):
                raise InputError(f"{path}: {field} of stage {stage.name!r} is {reference!r}: give {before}/best")
        if stage.unlabelled and not stage.pseudo_labels:
            raise InputError(f"{path}: unlabelled of stage {stage.name!r} needs pseudo_labels: the stage that labels")
        names.append(stage.name)


def find_stage(stages: Sequence[Stage], name: str, path: str) -> Stage:
    """Returns the stage of a name.

    Raises:
      InputError: there is none; the message lists those that there are.
    """
    found = {stage.name: stage for stage in stages}
    if name not in found:
        raise InputError(f"{path} has no stage {name!r}: choose from {', '.join(found)}")
    return found[name]
