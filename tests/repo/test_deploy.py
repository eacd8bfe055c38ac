"""The manifests of docs/deploy: each is what its operator takes, all name one image, and their versions are ours."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import kubernetes_validate
import pytest
import yaml
from kubeflow_spark_api import models
from pydantic import BaseModel, ConfigDict, Field

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
KUBERNETES = "1.33"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


# KubeRay's ray.io/v1 as far as it is used here, by its reference of fields (1.6). A template is a core PodTemplate.
class Auth(_Strict):
    mode: Literal["disabled", "token"]


class HeadGroup(_Strict):
    rayStartParams: dict[str, str]  # noqa: N815
    template: dict[str, Any]


class WorkerGroup(HeadGroup):
    groupName: str = Field(max_length=63)  # noqa: N815
    replicas: int
    minReplicas: int  # noqa: N815
    maxReplicas: int  # noqa: N815


class RayCluster(_Strict):
    rayVersion: str  # noqa: N815
    authOptions: Auth  # noqa: N815
    headGroupSpec: HeadGroup  # noqa: N815
    workerGroupSpecs: list[WorkerGroup]  # noqa: N815


class RayJob(_Strict):
    clusterSelector: dict[str, str]  # noqa: N815
    entrypoint: str


def read(name: str) -> dict[str, Any]:
    (document,) = yaml.safe_load_all((DEPLOY / f"{name}.yaml").read_text())
    assert isinstance(document, dict)
    return document


def check_core(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def check_template(template: dict[str, Any]) -> None:
    """A pod of this template is one that Kubernetes takes."""
    assert template.keys() <= {"metadata", "spec"}
    check_core({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **template})


def templates() -> list[dict[str, Any]]:
    ray, spark = read("ray")["spec"], read("spark")["spec"]
    groups = [ray["headGroupSpec"], *ray["workerGroupSpecs"], spark["server"], spark["executor"]]
    return [group["template"] for group in groups]


def test_the_shared_folder() -> None:
    claim = read("shared")
    check_core(claim)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for template in templates():
        (container,) = template["spec"]["containers"]
        assert container["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]
        (volume,) = template["spec"]["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}


def test_ray_is_what_kuberay_takes() -> None:
    document = read("ray")
    assert (document.pop("apiVersion"), document.pop("kind")) == ("ray.io/v1", "RayCluster")
    cluster = RayCluster.model_validate(document["spec"])
    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        check_template(group.template)
    job = read("script")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = RayJob.model_validate(job["spec"])
    assert spec.clusterSelector == {"ray.io/cluster": document["metadata"]["name"]}
    assert f"--master sc://{read('spark')['metadata']['name']}-server:15002" in spec.entrypoint


def test_spark_is_what_its_operator_takes() -> None:
    document = read("spark")
    assert (document["apiVersion"], document["kind"]) == ("sparkoperator.k8s.io/v1alpha1", "SparkConnect")
    taken = models.SparkV1alpha1SparkConnect.from_dict(document)
    assert taken is not None
    kept = taken.to_dict()
    for group in ("server", "executor"):  # the models of the core kinds rewrite quantities
        check_template(document["spec"][group].pop("template"))
        kept["spec"][group].pop("template")
    assert kept == document  # a field that it does not know is dropped there


def test_one_image_and_our_versions() -> None:
    containers = [container for template in templates() for container in template["spec"]["containers"]]
    assert len({container["image"] for container in containers} | {read("spark")["spec"]["image"]}) == 1
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"pyspark=={read('spark')['spec']['sparkVersion']}" in extras["spark"]
    assert f"ray[train]=={read('ray')['spec']['rayVersion']}" in extras["train"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"ARG SPARK={read('spark')['spec']['sparkVersion']}\n" in dockerfile
    named = re.search(r"EXTRAS=(\S+)", dockerfile)
    assert named
    assert set(named[1].split(",")) <= extras.keys()


def test_a_misspelt_field_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        check_template({"spec": {"containers": [{"name": "ray-head", "imag": "sqlllm"}]}})
