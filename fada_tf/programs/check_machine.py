"""The first minutes on a new machine: does what trains here compute what it should, and how fast?

fada-tf check_machine
fada-tf check_machine --precision=mixed_float16 --output=machine.json

Needs no data. Numbers of two small trainings on this machine's devices are compared with its CPU's in float32; input,
inference and training of ResNet-101 are timed. Prints a line a check, what is needed most first, leaves out what may
not fit into --limit seconds, and exits with 1 where something is wrong.
"""

import os
import sys
import time

from absl import flags, logging

from fada_tf import cli

_PRECISION = flags.DEFINE_enum(
    "precision", "automatic", ["automatic", "float32", "mixed_bfloat16", "mixed_float16"],
    "What speed is measured in; automatic: mixed_bfloat16 on GPUs, float32 on CPUs.",
)  # fmt: skip
# All of it ends within four minutes: a check that is not over 30 s after the limit is given up.
_LIMIT = flags.DEFINE_integer("limit", 200, "Seconds: what may not fit into them is not measured.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "", "JSON file to write; empty: none.")
cli.define_convolutions()


def main(argv):
    """Makes every check, one that fails included."""
    del argv
    start = time.perf_counter()
    import dataclasses

    from fada_tf.data import files
    from fada_tf.training import machine_check

    logging.set_verbosity(logging.ERROR)  # TensorFlow warns of functions traced again, which is what is wanted here
    files.make_folder(os.path.dirname(_OUTPUT.value) or ".")
    spent = time.perf_counter() - start
    findings = machine_check.make(machine_check.check_all(_PRECISION.value), sys.stdout, _LIMIT.value, spent)
    wrong, missing = (sum(finding.wrong for finding in findings), sum(not finding.measured for finding in findings))
    seconds = time.perf_counter() - start
    left = f", {missing} not measured (--limit={_LIMIT.value})" if missing else ""
    print(f"{wrong or 'nothing'} wrong of {len(findings)} checks{left}, {seconds:.0f} s")
    if _OUTPUT.value:
        checks = [dataclasses.asdict(finding) for finding in findings]
        result = {"seconds": seconds, "wrong": wrong, "not_measured": missing, "checks": checks}
        files.write_atomically(_OUTPUT.value, files.json_text(result, indent=1).encode())
    sys.stdout.flush()
    os._exit(int(wrong > 0))  # without waiting for a check that was given up


if __name__ == "__main__":
    cli.run(main)
