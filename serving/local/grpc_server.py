"""The gRPC interface: PredictionService and ModelService."""

from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import any_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from . import configs
from .servable import message, tensors
from .service import STATUSES, Service

MAX_REQUEST_BYTES = 256 << 20
_CODES = {code: getattr(grpc.StatusCode, name) for code, (name, _) in STATUSES.items()}
# By type, the field of a TensorProto that holds its values one by one (tensorflow/core/framework/tensor.proto).
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "string": "string_val",
    "float16": "half_val",
    "bfloat16": "half_val",
}


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service: Service, prefer_tensor_content: bool):
        self._service = service
        self._to_proto = tf.make_tensor_proto if prefer_tensor_content else typed_proto

    def Predict(self, request, context):  # noqa: N802
        return _answer(self._service, request, context, lambda: self._predict(request, context))

    def GetModelMetadata(self, request, context):  # noqa: N802
        return _answer(self._service, request, context, lambda: self._metadata(request))

    def Classify(self, request, context):  # noqa: N802
        return self._refuse(request.model_spec.name, context)

    Regress = Classify

    def MultiInference(self, request, context):  # noqa: N802
        return self._refuse("", context)

    def _refuse(self, name, context):
        self._service.record(name, "GRPC", tf.errors.UNIMPLEMENTED, 0.0)
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "segmenters have predict signatures only: call Predict")

    def _predict(self, request, context):
        timeout = context.time_remaining()
        with _use(self._service, request.model_spec) as (number, servable):
            signature = servable.signature(request.model_spec.signature_name)
            outputs = servable.run(signature, tensors(request.inputs), request.output_filter, timeout)
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.version.value = request.model_spec.name, number
        response.model_spec.signature_name = signature
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(self._to_proto(value))
        return response

    def _metadata(self, request):
        for field in request.metadata_field:
            if field != "signature_def":
                raise tf.errors.InvalidArgumentError(None, None, f"Metadata field {field} is not supported")
        if not request.metadata_field:
            raise tf.errors.InvalidArgumentError(None, None, "GetModelMetadataRequest must specify a metadata_field")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with _use(self._service, request.model_spec) as (number, servable):
            packed = any_pb2.Any()
            packed.Pack(signature_map(servable))
            response.metadata["signature_def"].CopyFrom(packed)
        response.model_spec.name, response.model_spec.version.value = request.model_spec.name, number
        return response


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service: Service):
        self._service = service

    def GetModelStatus(self, request, context):  # noqa: N802
        def status():
            return self._service.manager.status(*_choice(request.model_spec))

        return _answer(self._service, request, context, status)

    def HandleReloadConfigRequest(self, request, context):  # noqa: N802
        response = model_management_pb2.ReloadConfigResponse()
        try:
            configs.check_models(request.config)
            self._service.manager.apply(request.config)
        except configs.ConfigError as error:
            response.status.error_code, response.status.error_message = tf.errors.INVALID_ARGUMENT, str(error)
        except tf.errors.OpError as error:
            response.status.error_code, response.status.error_message = error.error_code, error.message
        if response.status.error_code:
            context.set_code(_CODES[response.status.error_code])
            context.set_details(response.status.error_message)
        return response


def typed_proto(values: np.ndarray) -> tensor_pb2.TensorProto:
    """Returns a tensor with its values in the field of their type, which clients read that know no `tensor_content`.

    Complex and quantised numbers, which no segmenter has, are written as `tensor_content`.
    """
    dtype = tf.as_dtype(values.dtype)
    if dtype.name not in _FIELDS:
        return tf.make_tensor_proto(values)
    field = _FIELDS[dtype.name]
    if field == "half_val":
        values = values.view(np.uint16)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in values.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(values.ravel().tolist())
    return proto


def signature_map(servable) -> get_model_metadata_pb2.SignatureDefMap:
    """Returns the signatures of a servable as metadata has them."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signature_defs.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures


def start(
    service: Service, address: str, threads: int, max_requests: int, *, prefer_tensor_content: bool = False
) -> grpc.Server:
    """Starts the server.

    Args:
      service: answers.
      address: host and port.
      threads: requests that run at a time.
      max_requests: that run or wait; more are refused with RESOURCE_EXHAUSTED.
      prefer_tensor_content: whether outputs are bytes in `tensor_content` instead of values in `int_val` and its like.

    Raises:
      RuntimeError: the port is taken.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(threads, "grpc"),
        maximum_concurrent_rpcs=max_requests,
        options=[
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Prediction(service, prefer_tensor_content), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(service), server)
    server.add_insecure_port(address)
    server.start()
    return server


def _choice(spec) -> tuple[str, int | None, str | None]:
    """Returns the model's name and the version or label that is asked for."""
    if not spec.name:
        raise tf.errors.InvalidArgumentError(None, None, "Missing ModelSpec")
    choice = spec.WhichOneof("version_choice")
    return spec.name, spec.version.value if choice == "version" else None, spec.version_label or None


def _use(service: Service, spec):
    return service.manager.use(*_choice(spec))


def _answer(service: Service, request, context, work):
    try:
        return service.answer(request.model_spec.name, "GRPC", work)
    except tf.errors.OpError as error:
        context.abort(_CODES[error.error_code], message(error))
