"""The messages that a light client and the configuration files need, without TensorFlow: as on the wire, by number.

The serving API's package pulls TensorFlow in. These few messages are made at run time in a pool of their own, so that
both may live in one process. A map is written as what it is on the wire: repeated entries of a key and a value.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "fada_tf.serving"
_TYPES = {"int32": 5, "int64": 3, "bool": 8, "string": 9, "bytes": 12, "double": 1}
# By message: "number type name", the type with a star if it is repeated. A type that is a message is one of these.
_MESSAGES = {
    "Int64": ("1 int64 value",),
    "String": ("1 string value",),
    "Dimension": ("1 int64 size",),
    "Shape": ("2 Dimension* dim",),
    "Tensor": (
        "1 int32 dtype", "2 Shape tensor_shape", "4 bytes tensor_content", "7 int32* int_val", "8 bytes* string_val",
    ),
    "NamedTensor": ("1 string key", "2 Tensor value"),
    "ModelSpec": ("1 string name", "2 Int64 version", "3 string signature_name", "4 string version_label"),
    "PredictRequest": ("1 ModelSpec model_spec", "2 NamedTensor* inputs", "3 string* output_filter"),
    "PredictResponse": ("1 NamedTensor* outputs", "2 ModelSpec model_spec"),
    "BatchingParameters": (
        "1 Int64 max_batch_size", "2 Int64 batch_timeout_micros", "3 Int64 max_enqueued_batches",
        "4 Int64 num_batch_threads", "5 String thread_pool_name", "6 int64* allowed_batch_sizes",
        "7 bool pad_variable_length_inputs",
    ),
    "PrometheusConfig": ("1 bool enable", "2 string path"),
    "MonitoringConfig": ("1 PrometheusConfig prometheus_config",),
}  # fmt: skip
DT_STRING = 7
PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="fada_tf/serving.proto", package=_PACKAGE, syntax="proto3")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for field in fields:
            number, field_type, name = field.split()
            added = described.field.add(name=name, number=int(number), label=3 if field_type.endswith("*") else 1)
            field_type = field_type.rstrip("*")
            if field_type in _TYPES:
                added.type = _TYPES[field_type]
            else:
                added.type, added.type_name = 11, f".{_PACKAGE}.{field_type}"
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def message(name: str) -> type:
    """Returns the class of a message of this module, such as "PredictRequest"."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
