"""The deployment files: parsed, and in agreement with each other and with the export."""

import pathlib
import shutil
import subprocess

import pytest
import yaml

from serving.local import configs

FOLDER = pathlib.Path(__file__).parents[2] / "serving"
METADATA = "/v1/models/segmenter/metadata"
CONFIGS = ("models.config", "batching.config", "monitoring.config")


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def test_two_versions_with_labels():
    (model,) = configs.read_models(str(FOLDER / "models.config")).model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("segmenter", "/models/segmenter", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 2
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}


def test_batches_are_those_that_export_warms_up():
    batching = configs.read_batching(str(FOLDER / "batching.config"))
    assert batching.allowed_batch_sizes[-1] == batching.max_batch_size
    sizes = ", ".join(f'"{size}"' for size in batching.allowed_batch_sizes)
    assert f'"warmup_batches", [{sizes}]' in (FOLDER.parent / "fada_tf/programs/export_model.py").read_text()


def test_metrics_are_on():
    assert configs.read_monitoring(str(FOLDER / "monitoring.config")) == configs.METRICS_PATH


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model_config_list { config { name: 'a' } }", "base_path"),
        ("model_config_list { config { name: 'a' base_path: '/a' } config { name: 'a' base_path: '/b' } }", "twice"),
        ("model_list {}", "model_list"),
    ],
)
def test_model_configs_that_cannot_work(tmp_path, text, words):
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(configs.ConfigError, match=words):
        configs.read_models(str(tmp_path / "models.config"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "the last must be"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: 4 allowed_batch_sizes: 2", "must rise"),
        ("num_batch_threads { value: 0 }", "above 0"), ("max_batch_size: 8", "max_batch_size"),
    ],
)  # fmt: skip
def test_batching_that_cannot_work(tmp_path, text, words):
    (tmp_path / "batching.config").write_text(text)
    with pytest.raises(configs.ConfigError, match=words):
        configs.read_batching(str(tmp_path / "batching.config"))


def test_compose():
    (compose,) = documents("docker-compose.yaml")
    for name, suffix in (("serving", ""), ("serving-gpu", "-gpu")):
        service = compose["services"][name]
        assert service["image"] == "tensorflow/serving:${TF_SERVING_TAG:-2.20.0}" + suffix
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert f"GET {METADATA} HTTP/1.1" in service["healthcheck"]["test"][-1]
        assert "/dev/tcp/127.0.0.1/8501" in service["healthcheck"]["test"][-1]
        mounted = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith("./")]
        assert all((FOLDER / path).exists() for path in mounted)
        assert {path.removeprefix("./") for path in mounted} == set(CONFIGS)
    assert compose["services"]["serving-gpu"]["deploy"]["resources"]["reservations"]["devices"]


def test_the_health_check_tells_a_ready_server_from_one_that_is_not(server):
    port = server.rest.rpartition(":")[2]
    (compose,) = documents("docker-compose.yaml")
    command = compose["services"]["serving"]["healthcheck"]["test"][1:]
    for model, healthy in (("segmenter", True), ("nobody", False)):
        script = command[-1].replace("/8501", f"/{port}").replace("/segmenter/", f"/{model}/")
        result = subprocess.run([*command[:-1], script], timeout=30)
        assert (result.returncode == 0) is healthy


def test_kubernetes():
    (kustomization,) = documents("kustomization.yaml")
    (generated,) = kustomization["configMapGenerator"]
    assert tuple(generated["files"]) == CONFIGS
    resources = [one for name in kustomization["resources"] for one in documents(name)]
    by_kind = {one["kind"]: one for one in resources}
    assert set(by_kind) == {"PersistentVolumeClaim", "Deployment", "Service"}
    pod = by_kind["Deployment"]["spec"]["template"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    (container,) = pod["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": METADATA, "port": "http"}
    assert container["resources"]["requests"]
    assert container["resources"]["limits"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert by_kind["Service"]["spec"]["selector"] == pod["metadata"]["labels"]
    assert {port["targetPort"] for port in by_kind["Service"]["spec"]["ports"]} == {
        port["name"] for port in container["ports"]
    }
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    assert (
        volumes["models"]["persistentVolumeClaim"]["claimName"] == by_kind["PersistentVolumeClaim"]["metadata"]["name"]
    )
    (compose,) = documents("docker-compose.yaml")
    assert container["args"] == compose["services"]["serving"]["command"]


def test_kserve_sets_the_version_of_the_image():
    (service,) = documents("kserve.yaml")
    model = service["spec"]["predictor"]["model"]
    (kustomization,) = documents("kustomization.yaml")
    (image,) = kustomization["images"]
    assert service["metadata"]["name"] == "segmenter"
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert str(model["runtimeVersion"]) == image["newTag"]
    assert model["readinessProbe"]["httpGet"]["path"] == METADATA


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds():
    result = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    kinds = [one["kind"] for one in yaml.safe_load_all(result.stdout)]
    assert sorted(kinds) == ["ConfigMap", "Deployment", "PersistentVolumeClaim", "Service"]
