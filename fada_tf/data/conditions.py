"""Conditions: under which an image was taken (weather, time of day, city), and of which split of its data set it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

WEATHER, TIME_OF_DAY, CITY, SPLIT = "weather", "time_of_day", "city", "split"
DATA_SET = "data_set"  # where several are one domain: the name of the folder of records

# By condition, the value of each record in order; "" where it is unknown.
Columns = Mapping[str, tuple[str, ...]]


def columns(records: Sequence[Mapping[str, str]]) -> Columns:
    """Returns the conditions of records, each {condition: value}, by condition."""
    names = sorted({name for record in records for name in record})
    return {name: tuple(record.get(name, "") for record in records) for name in names}


def groups(of_records: Columns) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields condition, value and [records] bool, which of them have it; no condition in which all are alike."""
    for name, values in of_records.items():
        places = np.array(values)
        found = [value for value in dict.fromkeys(values) if value]
        if len(set(values)) > 1:
            yield from ((name, value, places == value) for value in sorted(found))


def columns_to_json(of_records: Columns) -> dict[str, Any]:
    """Returns columns as JSON values; `columns_from_json` reads them back."""
    content = {}
    for name, column in of_records.items():
        values = sorted(set(column))
        places = {value: place for place, value in enumerate(values)}
        content[name] = {"values": values, "records": [places[value] for value in column]}
    return content


def columns_from_json(content: Any, num_records: int) -> Columns:
    """Returns the columns that `columns_to_json` wrote.

    Raises:
      ValueError, LookupError, TypeError, AttributeError: the values are none, or of another number of records.
    """
    of_records = {}
    for name, column in content.items():
        values, places = column["values"], column["records"]
        if {*map(type, values)} - {str} or {*map(type, places)} - {int} or min(places, default=0) < 0:
            raise ValueError(f"condition {name} is damaged")
        if len(places) != num_records:
            raise ValueError(f"condition {name} is of {len(places)} records, not of {num_records}")
        of_records[name] = tuple(values[place] for place in places)
    return of_records
