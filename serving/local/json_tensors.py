"""The JSON of TensorFlow Serving's REST API, to arrays and back."""

import base64
import binascii
import json
import re

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

_KEYS = {"signature_name", "instances", "inputs"}
_SPACE = re.compile(r"[ \t\n\v\f\r]+")


def parse_request(body: bytes) -> dict:
    """Returns a predict request's values, with exactly one of `instances` and `inputs`.

    Raises:
      tf.errors.InvalidArgumentError: it is not such a JSON object.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise _invalid("the request must be a JSON object")
    if ("instances" in request) == ("inputs" in request):
        raise _invalid("the request must have exactly one of 'instances' and 'inputs'")
    unknown = request.keys() - _KEYS
    if unknown:
        raise _invalid(f"unknown keys in the request: {', '.join(sorted(unknown))}")
    if not isinstance(request.get("signature_name", ""), str):
        raise _invalid("'signature_name' key must be a string value.")
    return request


def to_tensors(request: dict, signature: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
    """Returns the inputs of a parsed request.

    Args:
      request: see `parse_request`.
      signature: gives the inputs' names and types.

    Raises:
      tf.errors.InvalidArgumentError: the values do not fit.
    """
    dtypes = {name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()}
    columns = _columns_of_rows(request["instances"], dtypes) if "instances" in request else request["inputs"]
    named = isinstance(columns, dict) and not _is_bytes(columns)
    if not named:
        if len(dtypes) != 1:
            raise _invalid(f"inputs must be an object with the keys {', '.join(sorted(dtypes))}")
        columns = {next(iter(dtypes)): columns}
    if columns.keys() != dtypes.keys():
        raise _invalid(f"the keys must be exactly {', '.join(sorted(dtypes))}, not {', '.join(sorted(columns))}")
    return {name: _array(name, values, dtypes[name]) for name, values in columns.items()}


def from_tensors(outputs: dict[str, np.ndarray], row_format: bool) -> bytes:
    """Returns the JSON answer, in the format of the request.

    Raises:
      tf.errors.InvalidArgumentError: an output has a type that JSON cannot hold, or, for rows, no common batch.
    """
    columns = {name: _values(name, array, row_format) for name, array in outputs.items()}
    if not row_format:
        return json.dumps({"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}).encode()
    if len({len(column) for column in columns.values()}) != 1:
        raise _invalid("the outputs have no common batch: ask with 'inputs', not 'instances'")
    if len(columns) == 1:
        rows = next(iter(columns.values()))
    else:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps({"predictions": rows}).encode()


def _columns_of_rows(rows: object, dtypes: dict[str, tf.DType]):
    if not isinstance(rows, list) or not rows:
        raise _invalid("'instances' must be a list with at least one element")
    named = [isinstance(row, dict) and not _is_bytes(row) for row in rows]
    if not any(named):
        return rows
    if not all(named) or any(row.keys() != dtypes.keys() for row in rows):
        raise _invalid(f"every instance must have exactly the keys {', '.join(sorted(dtypes))}")
    return {name: [row[name] for row in rows] for name in dtypes}


def _array(name: str, values: object, dtype: tf.DType) -> np.ndarray:
    if dtype == tf.string:
        return _strings(name, values)
    try:
        array = np.array(values)
    except ValueError as error:
        raise _invalid(f"input {name} has rows of different lengths") from error
    wanted = dtype.as_numpy_dtype
    kinds = {"b": "b", "u": "ui", "i": "ui", "f": "uif"}.get(np.dtype(wanted).kind, "")
    if array.size == 0 or array.dtype.kind not in kinds:
        raise _invalid(f"input {name} must be numbers of type {dtype.name}, without gaps")
    limits = np.iinfo(wanted) if dtype.is_integer else None
    if limits and not (array.min() >= limits.min and array.max() <= limits.max):
        raise _invalid(f"input {name} must lie in {limits.min} to {limits.max} ({dtype.name})")
    return array.astype(wanted)


def _strings(name: str, values: object) -> np.ndarray:
    def parse(value):
        if isinstance(value, list):
            return [parse(item) for item in value]
        if isinstance(value, str):
            return value.encode()
        if _is_bytes(value):
            try:
                return _from_base64(value["b64"])
            except (binascii.Error, TypeError, ValueError) as error:
                raise _invalid(f"input {name}: 'b64' is not base64: {error}") from error
        raise _invalid(f'input {name} must be strings or {{"b64": ...}}')

    parsed = parse(values)
    array = np.array(parsed, object)
    if any(isinstance(value, list) for value in array.ravel()):
        raise _invalid(f"input {name} has rows of different lengths")
    return array


def _from_base64(text: str) -> bytes:
    """Decodes base64, which may have line ends, and no padding or all of it."""
    text = _SPACE.sub("", text)
    digits = text.rstrip("=")
    padding = "=" * (-len(digits) % 4)
    if text not in (digits, digits + padding):
        raise binascii.Error("wrong padding")
    return base64.b64decode(digits + padding, validate=True)


def _is_bytes(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _values(name: str, array: np.ndarray, row_format: bool):
    if array.dtype.kind not in "biufO" or array.dtype == np.float16:
        raise _invalid(f"output {name} has type {array.dtype}, which JSON cannot hold: ask over gRPC")
    if row_format and not array.ndim:
        raise _invalid(f"output {name} has no batch: ask with 'inputs', not 'instances'")
    if array.dtype.kind != "O":
        return array.tolist()
    try:
        if name.endswith("_bytes"):
            flat = [{"b64": base64.b64encode(value).decode()} for value in array.ravel()]
        else:
            flat = [value.decode() for value in array.ravel()]
    except UnicodeDecodeError as error:
        raise _invalid(f"output {name} is no UTF-8 text, and its name does not end in _bytes") from error
    texts = np.empty(len(flat), object)
    texts[:] = flat
    return texts.reshape(array.shape).tolist()


def _invalid(message: str) -> tf.errors.InvalidArgumentError:
    return tf.errors.InvalidArgumentError(None, None, message)
