"""The names of the files and folders in a run directory; whoever reads or writes one takes its name from here.

config.json, label_space.json   what is trained, and its classes
provenance.json                 every start of the run: command, versions, digests of what it reads
metrics.jsonl                   losses and scores, an object a line
positions.json                  where class-balanced sampling stood now and then, which saves time alone
checkpoints/ckpt-ITERATION      the newest ones
best/ckpt-ITERATION             the best one by mean IoU
pictures/NAME.png               what its method made of a few images the last time, see `Method.pictures`
events/                         train, evaluation and pictures, for TensorBoard
scores/, features/              what was measured of its checkpoints, see `results`
divergence.json                 the iteration at which a loss or gradient became infinite or NaN
lock                            held by the process that trains
"""

CONFIG = "config.json"
LABEL_SPACE = "label_space.json"
PROVENANCE = "provenance.json"
METRICS = "metrics.jsonl"
POSITIONS = "positions.json"
CHECKPOINTS = "checkpoints"
BEST = "best"
EVENTS = "events"
PICTURES = "pictures"
SCORES = "scores"
FEATURES = "features"
DIVERGENCE = "divergence.json"
LOCK = "lock"
MEASUREMENTS = (SCORES, FEATURES)
