"""One declaration of compute becomes a pool slot, Ray's request and Kubernetes' request."""

import json

import pytest

from resources.compute import op_tags, pool_of
from tunewise.study import Compute


def test_a_fit_with_a_gpu_takes_a_slot_of_the_gpu_pool():
    """GPUs are scarce: without a pool of its own such a fit waits for the one called gpu."""
    assert pool_of(Compute(gpus=1)) == "gpu"
    assert pool_of(Compute(gpus=1, pool="big")) == "big"
    assert pool_of(Compute()) is None


def test_ray_is_asked_for_processors_gpus_and_bytes():
    """Memory is written in bytes there."""
    assert op_tags(Compute(gpus=2, cpus=4, memory_gb=1.5))["dagster-ray/config"] == {
        "num_cpus": 4,
        "num_gpus": 2,
        "memory": 1_610_612_736,
    }


def test_kubernetes_is_asked_with_limits_tolerations_and_a_node():
    """A GPU is a limit, its type a label of the node, and its taint is tolerated."""
    config = op_tags(Compute(gpus=1, gpu_type="NVIDIA-H100-80GB-HBM3", memory_gb=8))["dagster-k8s/config"]

    assert config["container_config"]["resources"] == {
        "requests": {"cpu": "1", "memory": "8Gi"},
        "limits": {"cpu": "1", "memory": "8Gi", "nvidia.com/gpu": "1"},
    }
    assert config["pod_spec_config"]["node_selector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert config["pod_spec_config"]["tolerations"][0]["key"] == "nvidia.com/gpu"


def test_a_fit_without_gpus_asks_for_no_node():
    """CPU fits run anywhere."""
    assert "pod_spec_config" not in op_tags(Compute())["dagster-k8s/config"]


@pytest.mark.parametrize(
    ("label", "model"),
    [
        ("NVIDIA-H100-80GB-HBM3", "H100"),
        ("NVIDIA-A100-SXM4-40GB", "A100"),
        ("Tesla-T4", "T4"),
        ("NVIDIA-A10G", "A10G"),
        ("NVIDIA-L40S", "L40S"),
    ],
)
def test_ray_knows_a_gpu_by_its_model(label, model):
    """A node's label and Ray's mark name the same device; a fit takes a trace of the mark."""
    assert op_tags(Compute(gpus=1, gpu_type=label))["dagster-ray/config"]["resources"] == {f"accelerator_type:{model}": 0.001}


BIG = Compute(gpus=2, gpu_type="NVIDIA-H100-80GB-HBM3", cpus=4, memory_gb=32)


def test_kubernetes_executor_renders_the_job():
    """The executor's own parser takes the tag, and the pod has request, limit, node and toleration."""
    job = pytest.importorskip("dagster_k8s.job", reason="needs the extra k8s")
    tags = {"dagster-k8s/config": json.dumps(op_tags(BIG)["dagster-k8s/config"])}
    given = job.get_user_defined_k8s_config(tags)
    made = job.construct_dagster_k8s_job(job.DagsterK8sJobConfig(job_image="image"), ["run"], "name", given).to_dict()
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert container["resources"]["requests"] == {"cpu": "4", "memory": "32Gi"}
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "2"}
    assert pod["node_selector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert [(one["key"], one["effect"]) for one in pod["tolerations"]] == [("nvidia.com/gpu", "NoSchedule")]


def test_ray_executor_reads_the_request():
    """The executor's own parser takes the tag."""
    configs = pytest.importorskip("dagster_ray.configs", reason="needs the extra ray")
    read = configs.RayExecutionConfig.from_tags({"dagster-ray/config": json.dumps(op_tags(BIG)["dagster-ray/config"])})

    assert (read.num_cpus, read.num_gpus, read.memory) == (4, 2, 32 << 30)
    assert read.resources == {"accelerator_type:H100": 0.001}
