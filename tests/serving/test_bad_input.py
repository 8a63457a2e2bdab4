"""Bad requests to the local server, with batching: each gets its own error, and a neighbour who asks all the time
notices nothing."""

import base64
import contextlib
import gzip
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from PIL import Image

from fada_tf.data.images import encode_png
from serving.client import Client
from tests import trained
from tests.pictures import bomb, picture_file, sixteen_bits
from tests.serving.server import REST_TIMEOUT_MS
from tests.serving.test_contract import X, arrays, code, request

OVERLOADED = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
CAPACITY = 4 * (2 + 2)  # of the batching parameters: what runs and waits


def port(server) -> int:
    return int(server.rest.rpartition(":")[2])


@contextlib.contextmanager
def neighbour(server):
    """Asks all the time, over both interfaces; fails the test if one answer is late or not what it should be."""
    (picture,) = trained.pictures(1)
    file, stop, problems, answers = encode_png(picture), threading.Event(), [], []
    expected = np.asarray(Client(server.rest).segment(file))

    def ask(address):
        client = Client(address, retries=0, timeout=20)
        while not stop.is_set():
            try:
                if not np.array_equal(client.segment(file), expected):
                    problems.append("another mask")
                answers.append(1)
            except Exception as error:
                problems.append(error)

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask, address) for address in (server.rest, f"grpc://{server.grpc}")]
        try:
            yield
        finally:
            stop.set()
            for one in asking:
                one.result(60)
    assert not problems
    assert len(answers) >= 2


def coded(data: bytes) -> dict:
    return {"signature_name": "encoded", "instances": [{"b64": base64.b64encode(data).decode()}]}


def rest_cases() -> dict[str, tuple[str, int]]:
    files = {
        "text": b"no picture", "empty file": b"", "bomb": bomb(), "4 channels": picture_file("RGBA"),
        "16 bits": sixteen_bits(), "cmyk": picture_file("CMYK", "JPEG"), "cut": picture_file("RGB")[:300],
        "gif": picture_file("RGB", "GIF"),
    }  # fmt: skip
    cases = {name: (json.dumps(coded(data)), 400) for name, data in files.items()}
    raw = [[[0, 0, 0]] * 8] * 8
    cases |= {
        "empty list": ('{"instances": []}', 400),
        "an empty picture": ('{"instances": [[[]]]}', 400),
        "raw 4 channels": (json.dumps({"instances": [[[[0, 0, 0, 0]] * 8] * 8]}), 400),
        "NaN": (json.dumps({"instances": [raw]}).replace("0", "NaN", 1), 400),
        "deep": ("[" * 100_000, 400),
        "megabytes": (json.dumps({"instances": [raw] * 20_000}), 413),
        "many rows": (json.dumps({"instances": [raw] * 5}), 400),
        "long number": ('{"instances": [[[[' + "9" * 5000 + ", 0, 0]]]]}", 400),
    }
    return cases


def test_bad_requests_get_a_clear_error_and_the_neighbour_none(batching_server):
    with neighbour(batching_server):
        for name, (body, status) in rest_cases().items():
            answer = batching_server.post("/v1/models/segmenter:predict", data=body.encode())
            assert answer.status_code == status, (name, answer.text)
            assert answer.json()["error"], name
        packed = gzip.compress(b" " * 50_000_000)
        answer = batching_server.session.post(
            f"{batching_server.rest}/v1/models/segmenter:predict", packed, headers={"Content-Encoding": "gzip"}
        )
        assert answer.status_code == 400
        images = np.zeros([1, 8, 8, 3], np.float32)
        for made in (
            request("segmenter", images=images * np.nan),
            request("segmenter", "encoded", image_bytes=np.array([bomb()], object)),
            request("segmenter", "encoded", image_bytes=np.zeros([0], object)),
            request("segmenter", images=np.zeros([1, 0, 8, 3], np.uint8)),
            request("segmenter", images=np.zeros([5, 8, 8, 3], np.uint8)),
        ):
            assert code(batching_server.prediction.Predict, made) == grpc.StatusCode.INVALID_ARGUMENT


def test_slow_and_broken_connections_hold_up_nobody(batching_server):
    start = (
        b"POST /v1/models/segmenter:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n{"
    )
    with neighbour(batching_server), contextlib.ExitStack() as stack:
        connections = []
        for data in [start] * 20 + [start[:20]] * 20 + [b""] * 20:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port(batching_server))))
            connection.sendall(data)
            connections.append(connection)
        for connection in connections[:10]:  # break off, with a reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        with socket.create_connection(("127.0.0.1", int(batching_server.grpc.rpartition(":")[2]))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(10_000))
        call = batching_server.prediction.Predict.future(
            request("toy", signature="slow", steps=np.array([50], np.int32))
        )
        call.cancel()
        connections[15].settimeout(REST_TIMEOUT_MS / 1000 + 10)
        assert connections[15].recv(100).startswith(b"HTTP/1.1 504")


def test_requests_run_together_and_a_bad_one_fails_alone(batching_server):
    started = time.monotonic()
    batching_server.prediction.Predict(request("toy", x=X[:1]), timeout=30)
    assert time.monotonic() - started > 0.14  # it waited for others, as long as the parameters say
    good, bad, long = X[:1], -X[:1], [np.zeros([1, width], np.uint8) for width in (3, 3, 5, 7)]
    calls = [
        batching_server.prediction.Predict.future(request("toy", x=value), timeout=30) for value in (good, bad) * 4
    ]
    widths = [
        batching_server.prediction.Predict.future(request("toy", "width", image=value), timeout=30) for value in long
    ]
    for index, call in enumerate(calls):
        if index % 2:
            assert call.exception().code() == grpc.StatusCode.INVALID_ARGUMENT
        else:
            np.testing.assert_array_equal(arrays(call.result())["y"], good * 2)
    assert [arrays(call.result())["width"].tolist() for call in widths] == [[3], [3], [5], [7]]


def test_a_short_deadline_ends_one_request_of_a_batch_only(batching_server):
    slow = request("toy", signature="slow", steps=np.array([200], np.int32))  # a second or more
    patient = [batching_server.prediction.Predict.future(slow, timeout=50) for _ in range(2)]
    hasty = [batching_server.prediction.Predict.future(slow, timeout=0.3) for _ in range(2)]
    assert {call.exception().code() for call in hasty} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert [arrays(call.result())["done"].tolist() for call in patient] == [[200], [200]]


def test_overload_is_refused_and_passes(batching_server):
    slow = request("toy", signature="slow", steps=np.array([20], np.int32))
    calls = [batching_server.prediction.Predict.future(slow, timeout=50) for _ in range(4 * CAPACITY)]
    codes = [call.exception().code() if call.exception() else None for call in calls]
    assert set(codes) <= {None, *OVERLOADED}
    assert not [call for call in calls if call.exception() and "most recent call" in call.exception().details()]
    assert codes.count(None) >= CAPACITY / 2
    assert any(one in OVERLOADED for one in codes)
    np.testing.assert_array_equal(
        arrays(batching_server.prediction.Predict(request("toy", x=X), timeout=30))["y"], X * 2
    )


def test_the_client_waits_out_an_overload(batching_server, tmp_path):
    slow = request("toy", signature="slow", steps=np.array([20], np.int32))
    calls = [batching_server.prediction.Predict.future(slow, timeout=50) for _ in range(2 * CAPACITY)]
    (picture,) = trained.pictures(1)
    Image.fromarray(picture).save(tmp_path / "a.png")
    for address in (batching_server.rest, f"grpc://{batching_server.grpc}"):
        assert Client(address).segment(str(tmp_path / "a.png")).size == picture.shape[1::-1]
    for call in calls:
        call.exception()


def test_the_server_is_still_well(batching_server):
    log = batching_server.log.read_text()
    assert "Traceback" not in log
    assert batching_server.process.poll() is None
