"""The work of a conversion as Apache Beam pipelines, for fleets of images; needs `pip install fada_tf[beam]`."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from fada_tf.data import files, shards
from fada_tf.errors import InputError

TASKS_PER_ELEMENT = 64  # results come back as files; of many tasks, this many share one


def runner(options: Sequence[str], scratch: str) -> shards.Workers:
    """Returns `Workers` that make each job a Beam pipeline.

    Args:
      options: Beam's own flags, such as `--runner=DataflowRunner --project=...`.
      scratch: a folder that workers and this process reach; the results pass through it.

    Raises:
      InputError: Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError(f"Apache Beam cannot be imported ({error}): pip install 'fada_tf[beam]'") from error

    def workers(function: Callable, tasks: Sequence, *, title: str) -> Iterator:
        size = max(1, min(TASKS_PER_ELEMENT, len(tasks) // 1000))
        chunks = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        paths = [files.join(scratch, f"{title}-{i:05d}.json") for i in range(len(chunks))]
        files.make_folder(scratch)
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            elements = pipeline | beam.Create(list(zip(paths, chunks, strict=True))) | beam.Reshuffle()
            _ = elements | title >> beam.Map(partial(_work_on_chunk, function=function))
        for path in paths:
            yield from files.read_json(path)
            files.remove(path)

    return workers


def _work_on_chunk(element: tuple[str, Sequence], function: Callable) -> None:
    path, tasks = element
    files.write_atomically(path, json.dumps([function(task) for task in tasks]).encode())
