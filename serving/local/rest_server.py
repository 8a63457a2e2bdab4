"""The REST interface, the metrics and the page, on aiohttp."""

import asyncio
import json
import os
import pathlib
import time
from concurrent import futures

import tensorflow as tf
from aiohttp import web
from google.protobuf import json_format

from . import grpc_server, json_tensors
from .servable import message
from .service import STATUSES, Service

_PAGE = pathlib.Path(__file__).with_name("page.html")
_CLASSES = os.path.join("assets", "classes.json")
_MODEL = r"/v1/models/{model:[^/:]+}{choice:(?:/versions/\d+|/labels/[^/:]+)?}"
_MODEL_TEXT = {"preserving_proto_field_name": True}


class RestServer:
    """Answers HTTP requests; TensorFlow runs in threads, so that slow connections hold up nobody."""

    def __init__(
        self,
        service: Service,
        *,
        threads: int,
        timeout: float,
        max_requests: int,
        max_request_bytes: int,
        metrics_path: str | None,
    ):
        """Sets up the server.

        Args:
          service: answers.
          threads: requests that run at a time.
          timeout: seconds for a request, from its first byte.
          max_requests: that run or wait; more are refused with UNAVAILABLE.
          max_request_bytes: larger requests are refused.
          metrics_path: of the metrics; None: there are none.
        """
        self._service = service
        self._pool = futures.ThreadPoolExecutor(threads, "rest")
        self._timeout = timeout
        self._max_requests = max_requests
        self._requests = 0
        self._app = web.Application(client_max_size=max_request_bytes, middlewares=[_json_errors])
        self._app.add_routes(
            [
                web.get("/", self._page),
                web.get("/page/models", self._page_models),
                web.get(_MODEL, self._status),
                web.get(f"{_MODEL}/metadata", self._metadata),
                web.post(f"{_MODEL}:predict", self._predict),
            ]
        )
        if metrics_path:
            self._app.router.add_get(metrics_path, self._metrics)

    async def start(self, host: str, port: int) -> web.AppRunner:
        """Starts to listen; `cleanup()` of the result ends it.

        Raises:
          OSError: the port is taken.
        """
        runner = web.AppRunner(self._app, access_log=None, keepalive_timeout=self._timeout, auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        return runner

    async def _predict(self, request: web.Request) -> web.Response:
        started, name = time.monotonic(), request.match_info["model"]
        try:
            body = await asyncio.wait_for(request.read(), self._timeout)
        except asyncio.TimeoutError as error:
            raise self._failure(
                name, started, tf.errors.DeadlineExceededError, "the request came too slowly"
            ) from error
        except ConnectionError as error:
            raise self._failure(name, started, tf.errors.CancelledError, "the client broke off") from error
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise self._failure(name, started, tf.errors.InvalidArgumentError, "send the body without Content-Encoding")
        if self._requests >= self._max_requests:
            raise self._failure(name, started, tf.errors.UnavailableError, "the server is overloaded: try again later")
        deadline = started + self._timeout
        self._requests += 1
        work = asyncio.get_running_loop().run_in_executor(
            self._pool, self._service.answer, name, "REST", lambda: self._prediction(request, body, deadline)
        )
        work.add_done_callback(self._finished)
        try:
            # The thread itself ends a little later; it holds its place until then.
            result = await asyncio.wait_for(asyncio.shield(work), deadline - time.monotonic())
        except asyncio.TimeoutError as error:
            raise tf.errors.DeadlineExceededError(None, None, "Timed out waiting for the model") from error
        return web.Response(body=result, content_type="application/json")

    def _finished(self, work: asyncio.Future) -> None:
        self._requests -= 1
        if not work.cancelled():
            work.exception()  # has been seen, even if the client has gone

    def _prediction(self, request: web.Request, body: bytes, deadline: float) -> bytes:
        with self._service.manager.use(*_choice(request)) as (_, servable):
            values = json_tensors.parse_request(body)
            signature = servable.signature(values.get("signature_name", ""))
            inputs = json_tensors.to_tensors(values, servable.signature_defs[signature])
            outputs = servable.run(signature, inputs, timeout=deadline - time.monotonic())
        return json_tensors.from_tensors(outputs, row_format="instances" in values)

    async def _status(self, request: web.Request) -> web.Response:
        status = self._service.manager.status(*_choice(request))
        values = json_format.MessageToDict(status, always_print_fields_with_no_presence=True, **_MODEL_TEXT)
        for version in values["model_version_status"]:
            version.setdefault("status", {"error_code": "OK", "error_message": ""})
        return web.json_response(values)

    async def _metadata(self, request: web.Request) -> web.Response:
        name, *choice = _choice(request)
        with self._service.manager.use(name, *choice) as (number, servable):
            signatures = json_format.MessageToDict(
                grpc_server.signature_map(servable), always_print_fields_with_no_presence=True, **_MODEL_TEXT
            )
        spec = {"name": name, "signature_name": "", "version": str(number)}
        return web.json_response({"model_spec": spec, "metadata": {"signature_def": signatures}})

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=self._service.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _page(self, request: web.Request) -> web.FileResponse:
        del request
        return web.FileResponse(_PAGE)

    async def _page_models(self, request: web.Request) -> web.Response:
        """Answers with the classes of every available model, as its asset names them; the page's own route."""
        del request
        models = {}
        for name, path in self._service.manager.available().items():
            try:
                with open(os.path.join(path, _CLASSES), encoding="utf-8") as file:
                    models[name] = json.load(file)["classes"]
            except (OSError, ValueError, KeyError):
                models[name] = []
        return web.json_response(models)

    def _failure(self, model: str, started: float, error_type: type, text: str) -> tf.errors.OpError:
        error = error_type(None, None, text)
        self._service.record(model, "REST", error.error_code, time.monotonic() - started)
        return error


def _choice(request: web.Request) -> tuple[str, int | None, str | None]:
    """Returns the model's name and the version or label that the path asks for."""
    _, _, rest = request.match_info["choice"].partition("/")
    by, _, value = rest.partition("/")
    return request.match_info["model"], int(value) if by == "versions" else None, value if by == "labels" else None


@web.middleware
async def _json_errors(request: web.Request, handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except tf.errors.OpError as error:
        status, text = STATUSES[error.error_code][1], message(error)
    except web.HTTPRequestEntityTooLarge as error:
        status, text = error.status, f"the request is larger than {request.app._client_max_size} bytes"
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        status, text = 400, f"Malformed request: {request.method} {request.path}"
    return web.json_response({"error": text}, status=status)
