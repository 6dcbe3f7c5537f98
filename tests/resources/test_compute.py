"""One declaration of compute becomes a pool slot, Ray's request and Kubernetes' request."""

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
