"""The gRPC interface: PredictionService and ModelService."""

from concurrent import futures

import grpc
import tensorflow as tf
from google.protobuf import any_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.local import configs
from serving.local.servable import message, tensors
from serving.local.service import STATUSES, Service

MAX_REQUEST_BYTES = 256 << 20
_CODES = {code: getattr(grpc.StatusCode, name) for code, (name, _) in STATUSES.items()}


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service: Service):
        self._service = service

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
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
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


def signature_map(servable) -> get_model_metadata_pb2.SignatureDefMap:
    """Returns the signatures of a servable as metadata has them."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signature_defs.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures


def start(service: Service, address: str, threads: int, max_requests: int) -> grpc.Server:
    """Starts the server.

    Args:
      service: answers.
      address: host and port.
      threads: requests that run at a time.
      max_requests: that run or wait; more are refused with RESOURCE_EXHAUSTED.

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
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(service), server)
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
