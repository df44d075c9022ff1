"""Devices: which strategy a request gets, what cannot be reached, what runs where, precision."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import types

import pytest
import tensorflow as tf

import tpu_utils
from tests.command_line import ROOT, free_addresses
from tpu_utils import DeviceError

TWO_WORKERS = {"worker": ["localhost:1", "localhost:2"]}

needs_two_cpus = pytest.mark.skipif(
    len(tf.config.list_logical_devices("CPU")) < 2, reason="needs two logical CPUs (tests/conftest.py)"
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def chosen(monkeypatch):
    """The strategies that `connect` makes, as (class name, arguments), recorded but not made."""
    calls = []
    for name in ("TPUStrategy", "MultiWorkerMirroredStrategy", "MirroredStrategy", "OneDeviceStrategy"):
        monkeypatch.setattr(tf.distribute, name, lambda *args, name=name: calls.append((name, *args)))
    return calls


@pytest.fixture
def tpu_calls(monkeypatch):
    """The calls that connect to a TPU, in order, recorded but not made."""
    calls = []
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", lambda resolver: calls.append("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", lambda resolver: calls.append("initialize"))
    return calls


def give_gpus(monkeypatch, count):
    physical = [tf.config.PhysicalDevice(f"/physical_device:GPU:{index}", "GPU") for index in range(count)]
    logical = {
        "GPU": [tf.config.LogicalDevice(f"/device:GPU:{index}", "GPU") for index in range(count)],
        "CPU": [tf.config.LogicalDevice("/device:CPU:0", "CPU")],
    }
    grown = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: physical if kind == "GPU" else [])
    monkeypatch.setattr(tf.config, "list_logical_devices", logical.get)
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, enable: grown.append((gpu, enable)))
    return physical, grown


def tf_config(cluster=None, **task):
    return json.dumps({"cluster": TWO_WORKERS if cluster is None else cluster, "task": task})


def failure(*request):
    """The message of a request that must fail, which must be one line."""
    with pytest.raises(DeviceError) as raised:
        tpu_utils.connect(*request)
    message = str(raised.value)
    assert message and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (0, ("OneDeviceStrategy", "/device:CPU:0")),
        (1, ("OneDeviceStrategy", "/device:GPU:0")),
        (2, ("MirroredStrategy", ["/device:GPU:0", "/device:GPU:1"])),
    ],
)
def test_auto_uses_the_devices_of_the_machine(monkeypatch, chosen, gpus, expected):
    physical, grown = give_gpus(monkeypatch, gpus)
    tpu_utils.connect()
    assert chosen == [expected]
    assert grown == [(gpu, True) for gpu in physical]


def test_one_device_does_not_use_other_gpus(monkeypatch, chosen):
    give_gpus(monkeypatch, 2)
    tpu_utils.connect("one_device")
    assert chosen == [("OneDeviceStrategy", "/device:GPU:0")]


def test_auto_joins_a_cluster_of_several_workers(monkeypatch, chosen):
    give_gpus(monkeypatch, 2)
    monkeypatch.setenv("TF_CONFIG", tf_config(type="worker", index=1))
    tpu_utils.connect()
    assert chosen == [("MultiWorkerMirroredStrategy",)]


@pytest.mark.parametrize("cluster", [{}, {"worker": ["localhost:1"]}], ids=["no cluster", "one worker"])
def test_auto_uses_one_host_without_other_workers(monkeypatch, chosen, cluster):
    monkeypatch.setenv("TF_CONFIG", tf_config(cluster, type="worker", index=0))
    tpu_utils.connect()
    assert [name for name, *_ in chosen] == ["OneDeviceStrategy"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("{'cluster'", "JSONDecodeError"),
        ("3", "AttributeError"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "'task'"),
        (tf_config(type="worker", index=2), "No task with index 2"),
        (tf_config(type="evaluator", index=0), "No such job"),
        (tf_config({"worker": ["a:1"], "ps": ["b:1"]}, type="worker", index=0), "only chief and worker"),
    ],
)
def test_malformed_cluster(monkeypatch, config, reason):
    monkeypatch.setenv("TF_CONFIG", config)
    for strategy in ("auto", "multi_worker"):
        message = failure(strategy)
        assert "TF_CONFIG" in message
        assert reason in message


def test_multi_worker_needs_a_cluster():
    assert "needs TF_CONFIG" in failure("multi_worker")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (("gpu",), "unknown strategy gpu; known: auto, tpu, multi_worker, mirrored, one_device"),
        (("tpu",), "no TPU is named"),
        (("auto", None, "us-central1-a"), "no TPU is named"),
        (("mirrored", "my-tpu"), "strategy mirrored uses no TPU, but my-tpu asks for one"),
        (("one_device", None, None, "my-project"), "strategy one_device uses no TPU, but my-project asks for one"),
        (("tpu", "local", "us-central1-a"), "TPU local: zone and project are only for a TPU given by name"),
        (("auto", "grpc://10.0.0.2:8470", None, "my-project"), "only for a TPU given by name"),
    ],
)
def test_contradictory_requests(request_, reason):
    assert reason in failure(*request_)


@contextlib.contextmanager
def silent_server():
    """An address that accepts connections and never responds."""
    with socket.create_server(("localhost", 0)) as server:
        yield f"grpc://localhost:{server.getsockname()[1]}"


def test_unreachable_tpus_fail_at_once(monkeypatch):
    monkeypatch.setenv("GCE_METADATA_HOST", "localhost:1")
    started = time.monotonic()
    assert "metadata server" in failure("auto", "nonexistent")
    assert "finds no TPU" in failure("auto", "local")
    assert "localhost:1 does not answer: UNAVAILABLE" in failure("auto", "grpc://localhost:1")
    assert time.monotonic() - started < 5


def test_a_silent_tpu_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(tpu_utils.tpu, "_ANSWER_TIMEOUT_SECONDS", 0.2)
    with silent_server() as address:
        assert "does not answer: DEADLINE_EXCEEDED" in failure("tpu", address)


def test_failed_lookups_of_any_kind_are_one_line(monkeypatch):
    def look_up(resolver):
        raise type("ServerNotFoundError", (Exception,), {})("Unable to find the server\nat tpu.googleapis.com")

    monkeypatch.setattr(tf.distribute.cluster_resolver.TPUClusterResolver, "cluster_spec", look_up)
    assert failure("auto", "my-tpu", "zone", "project") == "TPU my-tpu: Unable to find the server"


def test_an_answering_tpu_is_connected_then_initialized(chosen, tpu_calls):
    server = tf.distribute.Server.create_local_server()
    tpu_utils.connect("auto", server.target)
    assert tpu_calls == ["connect", "initialize"]
    assert [name for name, *_ in chosen] == ["TPUStrategy"]


@pytest.mark.parametrize("variable", ["TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"])
def test_the_environment_may_name_the_tpu(monkeypatch, chosen, tpu_calls, variable):
    monkeypatch.setenv(variable, "local")
    tpu_utils.connect()
    [(name, resolver)] = chosen
    assert name == "TPUStrategy"
    assert resolver.master() == ""


def test_describe_one_device():
    strategy = tpu_utils.connect("one_device")
    assert tpu_utils.describe(strategy) == "OneDeviceStrategy, 1 CPU replica on 1 host"
    assert tpu_utils.is_chief(strategy)


@needs_two_cpus
def test_mirrored_takes_logical_cpus():
    strategy = tpu_utils.connect("mirrored")
    count = len(tf.config.list_logical_devices("CPU"))
    assert tpu_utils.describe(strategy) == f"MirroredStrategy, {count} CPU replicas on 1 host"
    assert tpu_utils.is_chief(strategy)


def without_devices(kind, **extended):
    """A strategy whose devices do not exist."""
    strategy = object.__new__(kind)
    strategy._extended = types.SimpleNamespace(**extended)
    return strategy


def test_describe_a_tpu_of_several_hosts():
    cores = [f"/job:worker/replica:0/task:{host}/device:TPU:{core}" for host in range(4) for core in range(8)]
    pod = without_devices(tf.distribute.TPUStrategy, worker_devices=cores, _num_replicas_in_sync=32)
    assert tpu_utils.describe(pod) == "TPUStrategy, 32 TPU replicas on 4 hosts"
    assert tpu_utils.is_chief(pod)


@pytest.mark.parametrize("hosts", [1, 4])
def test_input_of_this_process_is_refused_for_other_hosts(hosts):
    """Also for a single host, when it is reached by grpc: its process is another one."""
    cores = [f"/job:worker/replica:0/task:{host}/device:TPU:{core}" for host in range(hosts) for core in range(8)]
    remote = without_devices(tf.distribute.TPUStrategy, worker_devices=cores)
    with pytest.raises(tpu_utils.DeviceError, match=f"corruptions are made by Python .* by {hosts} other"):
        tpu_utils.refuse_other_hosts(remote, "corruptions")


def test_input_of_this_process_is_taken_by_its_own_devices():
    cores = [f"/job:localhost/replica:0/task:0/device:TPU:{core}" for core in range(8)]
    board = without_devices(tf.distribute.TPUStrategy, worker_devices=cores)
    for strategy in (board, tf.distribute.OneDeviceStrategy("/cpu:0")):
        assert tpu_utils.refuse_other_hosts(strategy, "corruptions") is None  # no DeviceError


@pytest.mark.parametrize(
    ("cluster", "job", "index", "expected"),
    [
        (TWO_WORKERS, "worker", 0, True),
        (TWO_WORKERS, "worker", 1, False),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "chief", 0, True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 0, False),
    ],
)
def test_one_worker_is_chief(monkeypatch, cluster, job, index, expected):
    monkeypatch.setenv("TF_CONFIG", tf_config(cluster, type=job, index=index))
    strategy = without_devices(
        tf.distribute.MultiWorkerMirroredStrategy,
        _cluster_resolver=tf.distribute.cluster_resolver.TFConfigClusterResolver(),
    )
    assert tpu_utils.is_chief(strategy) is expected


WORKER = """
import json
import tensorflow as tf
import tpu_utils

strategy = tpu_utils.connect()
value = 1.0 + strategy.cluster_resolver.task_id

@tf.function
def total():
    return strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("sum", tf.constant(value)))

print(json.dumps([tpu_utils.describe(strategy), tpu_utils.is_chief(strategy), float(total())]))
"""


def test_two_processes_reduce_together():
    cluster = {"worker": free_addresses(2)}
    with contextlib.ExitStack() as workers:
        processes = []
        for index in range(2):
            process = subprocess.Popen(
                [sys.executable, "-c", WORKER],
                cwd=ROOT,
                env=os.environ | {"TF_CONFIG": tf_config(cluster, type="worker", index=index)},
                stdout=subprocess.PIPE,
                text=True,
            )
            processes.append(workers.enter_context(process))
            workers.callback(process.kill)  # a worker without its peer ignores SIGTERM
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    description = "MultiWorkerMirroredStrategy, 2 CPU replicas on 2 hosts"
    assert [json.loads(output) for output in outputs] == [[description, True, 3.0], [description, False, 3.0]]


@pytest.fixture
def kept_policy():
    policy = tf.keras.mixed_precision.global_policy()
    yield
    tf.keras.mixed_precision.set_global_policy(policy)


@pytest.mark.parametrize(
    ("precision", "on_tpu", "policy"),
    [
        (None, False, "float32"),
        (None, True, "mixed_bfloat16"),
        ("bfloat16", False, "mixed_bfloat16"),
        ("float16", False, "mixed_float16"),
        ("float32", True, "float32"),
    ],
)
@pytest.mark.usefixtures("kept_policy")
def test_precision(precision, on_tpu, policy):
    strategy = without_devices(tf.distribute.TPUStrategy) if on_tpu else tf.distribute.OneDeviceStrategy("/cpu:0")
    assert tpu_utils.set_precision(precision, strategy) == policy
    assert tf.keras.mixed_precision.global_policy().name == policy
    layer = tf.keras.layers.Dense(2)
    layer.build([None, 3])
    assert layer.compute_dtype == policy.removeprefix("mixed_")
    assert layer.kernel.dtype == tf.float32


def test_precisions_that_no_device_or_no_tpu_has():
    with pytest.raises(DeviceError, match=r"^precision float16 is for GPUs; a TPU computes in bfloat16 or float32$"):
        tpu_utils.set_precision("float16", without_devices(tf.distribute.TPUStrategy))
    with pytest.raises(DeviceError, match=r"^unknown precision float8; known: float32, bfloat16, float16$"):
        tpu_utils.set_precision("float8", tf.distribute.OneDeviceStrategy("/cpu:0"))
    assert tf.keras.mixed_precision.global_policy().name == "float32"
