"""The REST and gRPC interfaces of TensorFlow Serving, over sockets: codes and values, not texts."""

import base64
import concurrent.futures
import io
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from fada_tf.data.images import encode_png
from serving.client import Client, ServingError
from tests import trained
from tests.serving import toy

X = np.array([[1, 2], [3, 4]], np.float32)


def request(model="toy", signature="", version=None, label=None, output_filter=(), **inputs):
    made = predict_pb2.PredictRequest(output_filter=output_filter)
    made.model_spec.name, made.model_spec.signature_name = model, signature
    if version is not None:
        made.model_spec.version.value = version
    if label is not None:
        made.model_spec.version_label = label
    for name, value in inputs.items():
        made.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return made


def arrays(response) -> dict[str, np.ndarray]:
    return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


FIELDS = {
    "float32": "float_val", "float64": "double_val", "float16": "half_val", "bfloat16": "half_val", "int8": "int_val",
    "int16": "int_val", "int32": "int_val", "uint8": "int_val", "uint16": "int_val", "int64": "int64_val",
    "uint32": "uint32_val", "uint64": "uint64_val", "bool": "bool_val", "string": "string_val",
}  # fmt: skip


def values(response, name: str) -> list:
    """Returns an output's values as clients do that know its field and no `tensor_content`."""
    proto = response.outputs[name]
    return list(getattr(proto, FIELDS[tf.as_dtype(proto.dtype).name]))


def code(call, made, timeout=30) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call(made, timeout=timeout)
    return caught.value.code()


# The three ways to name a version, over both interfaces.


@pytest.mark.parametrize(
    ("choice", "path", "factor"),
    [({}, "", 2), ({"version": 1}, "/versions/1", 1), ({"label": "stable"}, "/labels/stable", 1),
     ({"label": "canary"}, "/labels/canary", 2)],
)  # fmt: skip
def test_versions_and_labels(server, choice, path, factor):
    response = server.prediction.Predict(request(x=X, **choice), timeout=30)
    np.testing.assert_array_equal(arrays(response)["y"], X * factor)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("toy", factor, "serving_default")
    answer = server.post(f"/v1/models/toy{path}:predict", {"instances": X.tolist()})
    assert (answer.status_code, answer.json()) == (200, {"predictions": (X * factor).tolist()})


def test_row_and_column_formats(server):
    assert server.predict("toy", {"inputs": X.tolist()}).json() == {"outputs": (X * 2).tolist()}
    assert server.predict("toy", {"inputs": {"x": X.tolist()}}).json() == {"outputs": (X * 2).tolist()}
    rows = [{"x": row} for row in X.tolist()]
    assert server.predict("toy", {"instances": rows}).json() == {"predictions": (X * 2).tolist()}

    rows = [{"number": 1, "name": "a"}, {"number": 2, "name": {"b64": base64.b64encode(b"b").decode()}}]
    answer = server.predict("toy", {"signature_name": "mixed", "instances": rows}).json()
    raw = [{"b64": base64.b64encode(text).decode()} for text in (b"a", b"b")]
    assert answer == {
        "predictions": [
            {"double": 2, "text": "A", "raw_bytes": raw[0]}, {"double": 4, "text": "B", "raw_bytes": raw[1]},
        ]
    }  # fmt: skip
    columns = {"signature_name": "mixed", "inputs": {"number": [1, 2], "name": ["a", "b"]}}
    assert server.predict("toy", columns).json() == {
        "outputs": {"double": [2, 4], "text": ["A", "B"], "raw_bytes": raw}
    }


@pytest.mark.parametrize("count", [2, 1])
def test_values_stand_in_the_field_of_their_type(server, count):
    numbers = np.array([3, 200][:count], np.int32)
    response = server.prediction.Predict(request(signature="types", values=numbers), timeout=30)
    assert not any(proto.tensor_content for proto in response.outputs.values())
    assert response.outputs.keys() == {*FIELDS, "text", "count"}
    for name in FIELDS:
        assert [dim.size for dim in response.outputs[name].tensor_shape.dim] == [count]
        expected = tf.cast(numbers, tf.as_dtype(name)).numpy() if name != "string" else np.array([b"3", b"200"][:count])
        got = values(response, name)
        if FIELDS[name] == "half_val":
            expected = expected.view(np.uint16)
        assert got == expected.tolist(), name
    assert (values(response, "text"), values(response, "count")) == ([b"one"], [count])


def test_a_request_without_a_deadline(server):
    assert arrays(server.prediction.Predict(request(x=X)))["y"].shape == X.shape


def test_several_inputs_and_an_output_filter(server):
    made = request(signature="mixed", number=np.array([3], np.int32), name=np.array([b"\xffx"], object))
    response = server.prediction.Predict(made, timeout=30)
    assert (values(response, "double"), values(response, "text")) == ([6], [b"\xffX"])
    assert arrays(response)["raw_bytes"][0] == b"\xffx"
    made.output_filter.append("double")
    response = arrays(server.prediction.Predict(made, timeout=30))
    assert response.keys() == {"double"}
    assert response["double"] == [6]


@pytest.mark.parametrize(
    ("written", "text"),
    [("YWJj", "abc"), ("YWI=", "ab"), ("YQ==", "a"), ("YWI", "ab"), ("YQ", "a"), ("", ""), ("YW\nJj\n", "abc"),
     ("YW\r\nI", "ab"), (" YQ=\n=\t", "a")],
)  # fmt: skip
def test_base64_with_line_ends_and_without_padding(server, written, text):
    content = {"signature_name": "mixed", "instances": [{"number": 1, "name": {"b64": written}}]}
    answer = server.predict("toy", content)
    assert answer.status_code == 200, answer.text
    raw = answer.json()["predictions"][0]["raw_bytes"]["b64"]
    assert base64.b64decode(raw).decode() == text


@pytest.mark.parametrize("written", ["Y", "YWI==", "YWJj=", "YQ=", "=", "YQ==YQ==", "Y%==", "é", 3, None])
def test_what_is_no_base64(server, written):
    content = {"signature_name": "mixed", "instances": [{"number": 1, "name": {"b64": written}}]}
    assert server.predict("toy", content).status_code == 400


BAD_REST = {
    "unknown model": ("/v1/models/nobody:predict", {"instances": [[1, 2]]}, 404),
    "unknown version": ("/v1/models/toy/versions/99:predict", {"instances": [[1, 2]]}, 404),
    "unknown label": ("/v1/models/toy/labels/none:predict", {"instances": [[1, 2]]}, 400),
    "unknown signature": ("/v1/models/toy:predict", {"signature_name": "no", "instances": [[1, 2]]}, 400),
    "no route": ("/v1/models/toy:guess", {"instances": [[1, 2]]}, 400),
    "no model in the path": ("/v1/models", {"instances": [[1, 2]]}, 400),
    "both formats": ("/v1/models/toy:predict", {"instances": [[1, 2]], "inputs": [[1, 2]]}, 400),
    "no format": ("/v1/models/toy:predict", {}, 400),
    "a list": ("/v1/models/toy:predict", [1], 400),
    "no rows": ("/v1/models/toy:predict", {"instances": []}, 400),
    "texts": ("/v1/models/toy:predict", {"instances": [["a", "b"]]}, 400),
    "rank": ("/v1/models/toy:predict", {"instances": [1, 2]}, 400),
    "channels": ("/v1/models/toy:predict", {"instances": [[1, 2, 3]]}, 400),
    "ragged": ("/v1/models/toy:predict", {"instances": [[1, 2], [3]]}, 400),
    "other key": ("/v1/models/toy:predict", {"instances": [{"z": [1, 2]}]}, 400),
    "keys of some": ("/v1/models/toy:predict", {"instances": [{"x": [1, 2]}, [1, 2]]}, 400),
    "a key is missing": ("/v1/models/toy:predict", {"signature_name": "mixed", "inputs": {"number": [1]}}, 400),
    "fractions": ("/v1/models/toy:predict", {"signature_name": "slow", "instances": [0.5]}, 400),
    "no base64": ("/v1/models/segmenter:predict", {"signature_name": "encoded", "instances": [{"b64": "%"}]}, 400),
    "no picture": ("/v1/models/segmenter:predict", {"signature_name": "encoded", "instances": ["x"]}, 400),
    "half precision": ("/v1/models/toy:predict", {"signature_name": "half", "instances": [1.0]}, 400),
    "the model refuses": ("/v1/models/toy:predict", {"instances": [[-1, 2]]}, 400),
}


@pytest.mark.parametrize("case", BAD_REST)
def test_rest_errors(server, case):
    path, content, status = BAD_REST[case]
    answer = server.post(path, content)
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b'{"instances": [[1, 2]'])
def test_rest_bodies_that_are_not_json(server, data):
    assert server.post("/v1/models/toy:predict", data=data).status_code == 400


def test_rest_values_beyond_the_type(server):
    body = {"signature_name": "width", "instances": [[1, 256]]}
    assert server.predict("toy", body).status_code == 400


NUMBER, NAME = np.array([1], np.int32), np.array([b"a"], object)
BAD_GRPC = {
    "unknown model": (request("nobody", x=X), "NOT_FOUND"),
    "no model": (request("", x=X), "INVALID_ARGUMENT"),
    "unknown version": (request(version=99, x=X), "NOT_FOUND"),
    "unknown label": (request(label="none", x=X), "INVALID_ARGUMENT"),
    "unknown signature": (request(signature="no", x=X), "INVALID_ARGUMENT"),
    "dtype": (request(x=X.astype(np.int32)), "INVALID_ARGUMENT"),
    "rank": (request("segmenter", images=np.zeros([4, 4, 3], np.uint8)), "INVALID_ARGUMENT"),
    "channels": (request("segmenter", images=np.zeros([1, 4, 4, 4], np.uint8)), "INVALID_ARGUMENT"),
    "other input": (request(z=X), "INVALID_ARGUMENT"),
    "too many inputs": (request(x=X, z=X), "INVALID_ARGUMENT"),
    "no inputs": (request(), "INVALID_ARGUMENT"),
    "an input is missing": (request(signature="mixed", number=NUMBER), "INVALID_ARGUMENT"),
    "unknown output": (request(output_filter=["no"], x=X), "INVALID_ARGUMENT"),
    "the model refuses": (request(x=-X), "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize("case", BAD_GRPC)
def test_grpc_errors(server, case):
    made, expected = BAD_GRPC[case]
    assert code(server.prediction.Predict, made).name == expected


def test_a_damaged_tensor(server):
    made = request(x=X)
    made.inputs["x"].tensor_content = b"123"
    assert code(server.prediction.Predict, made) == grpc.StatusCode.INVALID_ARGUMENT


def test_classification_is_refused(server):
    made = classification_pb2.ClassificationRequest()
    made.model_spec.name = "toy"
    assert code(server.prediction.Classify, made).name in ("UNIMPLEMENTED", "INVALID_ARGUMENT", "FAILED_PRECONDITION")


def test_a_deadline_ends_the_request_and_not_the_server(server):
    slow = request(signature="slow", steps=np.array([100_000], np.int32))
    started = time.monotonic()
    assert code(server.prediction.Predict, slow, timeout=0.3) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 3
    answer = server.predict("toy", {"signature_name": "slow", "instances": [100_000]})
    assert answer.status_code == 504
    assert server.predict("toy", {"instances": [[1, 2]]}).status_code == 200


def test_status(server):
    status = server.get("/v1/models/toy").json()["model_version_status"]
    assert {one["version"]: (one["state"], one["status"]["error_code"]) for one in status} == {
        "1": ("AVAILABLE", "OK"), "2": ("AVAILABLE", "OK"),
    }  # fmt: skip
    for path in ("/versions/1", "/labels/stable"):
        (one,) = server.get(f"/v1/models/toy{path}").json()["model_version_status"]
        assert one["version"] == "1"
    for path in ("nobody", "toy/versions/99"):
        assert server.get(f"/v1/models/{path}").status_code == 404
    made = get_model_status_pb2.GetModelStatusRequest()
    made.model_spec.name = "toy"
    status = server.model_service.GetModelStatus(made, timeout=30).model_version_status
    assert sorted((one.version, one.state, one.status.error_code) for one in status) == [(1, 30, 0), (2, 30, 0)]
    made.model_spec.name = "nobody"
    assert code(server.model_service.GetModelStatus, made) == grpc.StatusCode.NOT_FOUND


def test_metadata(server):
    content = server.get("/v1/models/segmenter/versions/1/metadata").json()
    assert (content["model_spec"]["name"], content["model_spec"]["version"]) == ("segmenter", "1")
    signatures = content["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "encoded", "probabilities"} <= signatures.keys()
    shape = signatures["serving_default"]["inputs"]["images"]["tensor_shape"]["dim"]
    assert [dim["size"] for dim in shape] == ["-1", "-1", "-1", "3"]
    assert server.get("/v1/models/nobody/metadata").status_code == 404
    assert server.get("/v1/models/cold/metadata").status_code == 404

    made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    made.model_spec.name = "toy"
    packed = server.prediction.GetModelMetadata(made, timeout=30).metadata["signature_def"]
    seen = get_model_metadata_pb2.SignatureDefMap()
    assert packed.Unpack(seen)
    assert seen.signature_def["mixed"].inputs["name"].dtype == tf.string.as_datatype_enum
    made.metadata_field[:] = ["nothing"]
    assert code(server.prediction.GetModelMetadata, made) == grpc.StatusCode.INVALID_ARGUMENT


def test_a_warm_up_that_fails_fails_the_load(server):
    server.wait("cold", 1, "END")
    (one,) = server.get("/v1/models/cold").json()["model_version_status"]
    assert one["status"]["error_code"] == "INVALID_ARGUMENT"
    assert server.predict("cold", {"instances": [[1, 2]]}).status_code == 404
    toy.write(server.models / "cold", 2)
    server.wait("cold", 2)
    np.testing.assert_array_equal(server.predict("cold", {"instances": [[1, 2]]}).json()["predictions"], [[2, 4]])


def test_a_new_version_takes_over_while_requests_run_and_none_is_lost(server):
    stop, answers = threading.Event(), []

    def ask(use_grpc):
        while not stop.is_set():
            if use_grpc:
                answers.append(float(arrays(server.prediction.Predict(request("hot", x=X), timeout=30))["y"][0, 0]))
            else:
                answer = server.predict("hot", {"instances": [[1, 2]]})
                answers.append(answer.json()["predictions"][0][0] if answer.ok else answer.text)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, index % 2 == 0) for index in range(4)]
        try:
            slow = request("hot", "slow", steps=np.array([250], np.int32))
            outlasting = server.prediction.Predict.future(slow, timeout=90)  # the version that it runs on
            toy.write(server.models / "hot", 2)
            server.wait("hot", 2)
            server.wait("hot", 1, "END")
        finally:
            time.sleep(0.2)
            stop.set()
        for one in asking:
            one.result(60)
    assert outlasting.result().model_spec.version.value == 1
    assert set(answers) == {1.0, 2.0}
    assert answers[-1] == 2.0
    assert server.post("/v1/models/hot/versions/1:predict", {"instances": [[1, 2]]}).status_code == 404


def test_labels_move_by_a_reload_and_only_to_versions_that_are_there(server):
    def reload(stable: int):
        made = model_management_pb2.ReloadConfigRequest()
        for name in ("toy", "hot", "cold", "segmenter"):
            base = f"{server.models}/{name}" if hasattr(server, "process") else f"/models/{name}"
            added = made.config.model_config_list.config.add(name=name, base_path=base, model_platform="tensorflow")
            if name == "toy":
                added.model_version_policy.latest.num_versions = 2
                added.version_labels["stable"] = stable
        return server.model_service.HandleReloadConfigRequest(made, timeout=60)

    try:
        reload(2)
        answer = server.post("/v1/models/toy/labels/stable:predict", {"instances": [[1, 2]]})
        assert answer.json()["predictions"] == [[2, 4]]
        assert server.post("/v1/models/toy/labels/canary:predict", {"instances": [[1, 2]]}).status_code == 400
        with pytest.raises(grpc.RpcError) as caught:
            reload(77)
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    finally:
        reload(1)


# The segmenter, through three clients.


def test_the_segmenter_over_every_way_gives_the_same(server):
    ovms = pytest.importorskip("ovmsclient", reason="ovmsclient is in the extra test")
    (picture,) = trained.pictures(1)
    file = encode_png(picture)
    response = server.prediction.Predict(request("segmenter", images=picture[None]), timeout=60)
    class_map = arrays(response)["class_map"][0]
    assert len(np.unique(class_map)) > 1
    assert values(response, "class_map") == class_map.ravel().tolist()

    made = request("segmenter", "encoded", image_bytes=np.array([file], object))
    outputs = arrays(server.prediction.Predict(made, timeout=60))
    np.testing.assert_array_equal(Image.open(io.BytesIO(outputs["mask_png_bytes"][0])), class_map)
    assert (outputs["height"][0], outputs["width"][0]) == picture.shape[:2]

    coded = {"b64": base64.b64encode(file).decode()}
    answer = server.predict("segmenter", {"signature_name": "encoded", "instances": [coded]}).json()["predictions"][0]
    np.testing.assert_array_equal(Image.open(io.BytesIO(base64.b64decode(answer["mask_png_bytes"]["b64"]))), class_map)
    answer = server.predict("segmenter", {"instances": [picture.tolist()]}).json()["predictions"][0]
    np.testing.assert_array_equal(answer, class_map)

    client = ovms.make_grpc_client(server.grpc)
    np.testing.assert_array_equal(client.predict({"images": picture[None]}, "segmenter", 1)[0], class_map)
    assert client.get_model_status("segmenter", 1)[1]["state"] == "AVAILABLE"
    client = ovms.make_http_client(server.rest.removeprefix("http://"))
    np.testing.assert_array_equal(client.predict({"images": picture[None]}, "segmenter", 1)[0], class_map)

    for address in (server.rest, f"grpc://{server.grpc}"):
        np.testing.assert_array_equal(Client(address, version=1).segment(file), class_map)
        with pytest.raises(ServingError, match=r"404|NOT_FOUND"):
            Client(address, model="nobody", retries=0).segment(file)


def test_probabilities_over_grpc(server):
    (picture,) = trained.pictures(1)
    made = request("segmenter", "probabilities", images=picture[None])
    probabilities = arrays(server.prediction.Predict(made, timeout=60))["probabilities"]
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
    assert probabilities.shape == (1, *picture.shape[:2], 3)


def test_metrics(server):
    if not hasattr(server, "process"):
        pytest.skip("a real server needs a monitoring config")
    server.predict("toy", {"instances": [[1, 2]]})
    server.predict("nobody at all", {"instances": [[1, 2]]})
    text = server.get("/monitoring/prometheus/metrics").text
    assert ':tensorflow:serving:request_count{model_name="toy",status="OK"}' in text
    assert ':tensorflow:serving:request_latency_count{API="predict",entrypoint="REST",model_name="toy"}' in text
    assert "nobody" not in text
