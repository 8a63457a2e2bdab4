"""Folders of shards: written group by group by many workers, resumable; relabelled; proved whole."""

import contextlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, Protocol

from fada_tf import machine
from fada_tf.data import files
from fada_tf.data.conditions import Columns
from fada_tf.data.labels import LabelSpace
from fada_tf.data.manifest import MANIFEST_NAME, Manifest, Shard, shard_name
from fada_tf.data.tfrecord import Record, write_shard
from fada_tf.errors import InputError
from fada_tf.facts import Facts


class Workers(Protocol):
    """Who does a job's work: this process, several, or a Beam pipeline."""

    def __call__(self, function: Callable, tasks: Sequence, *, title: str) -> Iterable:
        """Returns function(task) of each task, in order: JSON values, which may pass through files.

        `title` names the progress bar.
        """


def in_this_process(function: Callable, tasks: Sequence, *, title: str) -> Iterator:
    """Works in this process, without a bar."""
    del title
    return map(function, tasks)


@contextlib.contextmanager
def worker_pool(processes: int = 0) -> Iterator[Workers]:
    """Yields `Workers` in as many processes, with a bar and its ETA; 0 for one a core."""
    # Spawned, because a process that has started TensorFlow's threads must not be forked; and off the GPUs, since each
    # of so many would take a part of their memory.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        processes or machine.available_cores(), mp_context=context, initializer=machine.hide_gpus
    )

    def workers(function: Callable, tasks: Sequence, *, title: str) -> Iterator:
        from fada_tf import progress

        chunk = max(1, min(16, len(tasks) // 256))
        results = pool.map(function, tasks, chunksize=chunk)
        return progress.track(results, len(tasks), title)

    try:
        yield workers
    except BrokenProcessPool as error:
        raise InputError("a worker was killed, most likely for lack of memory: give fewer --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def check_output(output: str) -> None:
    """Checks that shards can go to `output`, as far as that can be known before anything else is.

    Raises:
      InputError: it is a file.
    """
    if files.exists(output) and not files.is_folder(output):
        raise InputError(f"{output} is a file: give a new or empty folder")


def write(
    output: str,
    label_space: LabelSpace | None,
    groups: Sequence[Any],
    make_records: Callable[[Any], Iterable[Record]],
    *,
    job: str,
    workers: Workers = in_this_process,
    labelled: tuple[str, ...] | None = None,
    of_records: Columns | None = None,
    facts: Facts | None = None,
) -> Manifest:
    """Writes one shard a group, then the manifest; shards that the same job finished before are kept if whole.

    Args:
      output: a new or empty folder, or one where this job was begun.
      label_space: of the records' labels; None if they have none.
      groups: whatever `make_records` makes a shard's records of.
      make_records: group to records; a function that can be pickled.
      job: digest of all that decides the shards' bytes.
      workers: who does the work.
      labelled: names of the classes that the labels can hold; None for all of the label space.
      of_records: the records' conditions.
      facts: what training should know of the data set; None where nothing is known.

    Raises:
      InputError: `output` holds something else, or cannot be written.
    """
    names = [shard_name(i, len(groups)) for i in range(len(groups))]
    done = _finished(output, names, job)
    tasks = [(files.join(output, name), group) for name, group in zip(names, groups, strict=True) if name not in done]
    for values in workers(partial(_write_one, make_records=make_records, job=job), tasks, title="write"):
        shard = Shard.from_json(values)
        done[shard.file] = shard
    finished = tuple(done[name] for name in names)
    manifest = Manifest(output, label_space, finished, job, labelled, of_records or {}, facts)
    manifest.save()
    for name in names:
        files.remove(files.join(output, _note_name(name)))
    return manifest


def _note_name(shard: str) -> str:
    """Returns the name of the file that says, until the manifest does, what a finished shard holds."""
    return f"{shard}.done.json"


def _write_one(task: tuple[str, Any], make_records: Callable[[Any], Iterable[Record]], job: str) -> dict:
    path, group = task
    shard = write_shard(path, make_records(group)).to_json()
    note = json.dumps({"job": job, "shard": shard}, ensure_ascii=False)
    files.write_atomically(_note_name(path), note.encode())
    return shard


def _finished(output: str, names: list[str], job: str) -> dict[str, Shard]:
    """Returns the shards of this job that are whole, by name; refuses a folder with anything else in it."""
    check_output(output)
    files.make_folder(output)
    present = set(files.list_folder(output))
    if MANIFEST_NAME in present:
        manifest = Manifest.load(output)
        if manifest.job != job:
            raise InputError(f"{output} holds other records: give another folder or delete that one")
        return {shard.file: shard for shard in manifest.shards if _is_whole(output, shard, present)}
    of_this_job = {MANIFEST_NAME, *names, *map(_note_name, names)}
    foreign = sorted(present - of_this_job - set(map(files.partial_name, of_this_job)))
    if foreign:
        raise InputError(f"{output} holds other files, such as {foreign[0]}: give a new or empty folder")
    done = {}
    for name in names:
        if {name, _note_name(name)} <= present:
            note = json.loads(files.read_bytes(files.join(output, _note_name(name))))
            if note["job"] == job and _is_whole(output, shard := Shard.from_json(note["shard"]), present):
                done[name] = shard
    return done


def _is_whole(output: str, shard: Shard, present: set[str]) -> bool:
    path = files.join(output, shard.file)
    return shard.file in present and files.size(path) == shard.size and files.sha256(path) == shard.sha256
