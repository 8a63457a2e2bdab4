"""Work that threads do ahead of whoever needs its results: reading, decoding, writing beside predicting.

Training does not use it: `fada_tf.data.pipeline` is a tf.data pipeline, which works ahead by itself.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], count: int = 2) -> Iterator[Result]:
    """Yields function(item) of each item, in order, while threads work on the items that follow.

    Args:
      function: what the threads do, with files or large arrays, so that other Python code runs meanwhile.
      items: drawn as they are needed, by the thread that draws the results.
      count: of the threads, and of the items that wait. All that were begun are finished, whatever is raised.
    """
    with ThreadPoolExecutor(count) as threads:
        begun: collections.deque[Future[Result]] = collections.deque()
        for item in items:
            begun.append(threads.submit(function, item))
            if len(begun) > count:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
