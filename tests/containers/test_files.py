"""Dockerfiles, compose file and Kubernetes manifests pass their linters and schemas, and say the same as each other."""

import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from ms_omni.mindspore_version import RELEASES, TESTED

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile.*"))
KUBERNETES = "1.34"
# What a card's container is given by its host: docs/containers.md
DEVICES = {"/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"}
DRIVER = {
    "/usr/local/dcmi",
    "/usr/local/bin/npu-smi",
    "/usr/local/Ascend/driver/lib64",
    "/usr/local/Ascend/driver/version.info",
    "/etc/ascend_install.info",
}


def program(name):
    return Path(sys.executable).parent / name


def documents(name):
    return list(yaml.safe_load_all((DOCKER / "kubernetes" / name).read_text()))


def pods():
    """(document's kind, pod template) of every manifest."""
    for name in ("server.yaml", "machines.yaml"):
        for document in documents(name):
            if document["kind"] == "Deployment":
                yield document["kind"], document["spec"]["template"]
            elif document["kind"] == "AscendJob":
                yield from ((document["kind"], r["template"]) for r in document["spec"]["replicaSpecs"].values())


def compose():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    done = subprocess.run([program("hadolint"), path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_file_fits_the_specification():
    line = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["server.yaml", "machines.yaml"])
def test_manifests_fit_the_schemas_of_kubernetes(name):
    for document in documents(name):
        if document["kind"] != "AscendJob":
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    for _, template in pods():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_ascend_job_keeps_the_operators_rules():
    """component/ascend-operator/pkg/controllers/v1/ascendjob_validate.go and env.go of Ascend/mind-cluster."""
    (job,) = (document for document in documents("machines.yaml") if document["kind"] == "AscendJob")
    assert job["apiVersion"] == "mindxdl.gitee.com/v1" and job["metadata"]["labels"]["framework"] == "mindspore"
    replicas = job["spec"]["replicaSpecs"]
    assert set(replicas) == {"Scheduler", "Worker"} and replicas["Scheduler"]["replicas"] == 1
    count = sum(spec["replicas"] for spec in replicas.values())
    assert job["spec"]["runPolicy"]["schedulingPolicy"]["minAvailable"] == count
    for spec in replicas.values():
        (container,) = spec["template"]["spec"]["containers"]
        assert container["name"] == "ascend" and "ascendjob-port" in {port["name"] for port in container["ports"]}
        assert "restartPolicy" not in spec["template"]["spec"]  # it would be overwritten
        assert flag(container["args"], "--nodes") == str(count)
        (address,) = (entry for entry in container["env"] if entry["name"] == "HCCL_IF_IP")
        assert address["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"


def flag(words, name):
    return words[words.index(name) + 1]


def served():
    """(command line, seconds between the signal to end and the kill, those that a preStop takes of them, cards)."""
    for name, service in compose().items():
        cards = sum(re.fullmatch(r"/dev/davinci\d+", device) is not None for device in service.get("devices", []))
        yield name, service["command"], int(service["stop_grace_period"].removesuffix("s")), 0, cards
    for kind, template in pods():
        spec = template["spec"]
        (container,) = spec["containers"]
        waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1]) if "lifecycle" in container else 0
        for amounts in (container["resources"]["requests"], container["resources"]["limits"]):
            assert amounts["huawei.com/Ascend910"] == flag(container["args"], "--cards")
        yield (
            kind,
            container["args"],
            spec["terminationGracePeriodSeconds"],
            waits,
            int(amounts["huawei.com/Ascend910"]),
        )


@pytest.mark.parametrize("name, words, ends_s, waits_s, cards", list(served()))
def test_answers_may_finish_before_a_server_is_killed(name, words, ends_s, waits_s, cards):
    assert ends_s >= waits_s + int(flag(words, "--grace-s")) + 10
    assert flag(words, "--host") == "0.0.0.0" and flag(words, "--port") == "8901"
    assert ("launch" in words) == (cards > 0)
    assert not cards or int(flag(words, "--cards")) == cards


def test_launch_and_its_flags_exist():
    from ms_omni.cli.commands import command_parser

    parser = command_parser("launch")
    for _, words, *_ in served():
        if "launch" in words:
            # numbers that the operator sets
            words = [{"$(MS_NODE_RANK)": "0", "$(MS_SCHED_PORT)": "2222"}.get(word, word) for word in words]
            assert parser.parse_args(words[2:]).words[:2] == ["--", "serve"]


def test_nobody_is_root_and_nothing_can_be_gained():
    for path in DOCKERFILES:
        (user,) = re.findall(r"^USER (.*)$", path.read_text(), re.MULTILINE)
        assert user in ("1000:1000", "${NPU_UID}:${NPU_GID}")
    for _, template in pods():
        spec = template["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        # what a read-only root leaves to write on
        mounts = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert container["securityContext"]["readOnlyRootFilesystem"] and mounts == {
            "/dev/shm", "/home/HwHiAiUser", "/tmp"
        }  # fmt: skip
        names = {volume["name"] for volume in spec["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == names


def test_containers_get_devices_and_driver_from_the_host():
    ascend = compose()["ascend"]
    assert set(ascend["devices"]) >= DEVICES
    mounted = {volume.rsplit(":", 2)[1]: volume.rsplit(":", 1)[1] for volume in ascend["volumes"]}
    assert set(mounted) == {*DRIVER, "/model"} and set(mounted.values()) == {"ro"}
    (template,) = (template for kind, template in pods() if kind == "Deployment")
    assert {mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]} >= DRIVER
    assert "driver" not in (DOCKER / "Dockerfile.ascend").read_text().split("FROM ${BASE_IMAGE}")[1]


def test_probes_wait_for_a_model_that_loads_for_minutes():
    for _, template in pods():
        (container,) = template["spec"]["containers"]
        if "startupProbe" in container:
            start, live = container["startupProbe"], container["livenessProbe"]
            assert start["periodSeconds"] * start["failureThreshold"] >= 30 * 60
            assert live["periodSeconds"] * live["failureThreshold"] >= 180
            assert {container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")} == {"/health"}


def test_images_stand_on_the_cann_that_the_package_is_made_for():
    arguments = dict(re.findall(r"^ARG (\w+)=(.*)$", (DOCKER / "Dockerfile.ascend").read_text(), re.MULTILINE))
    assert arguments["CANN_VERSION"] == "8.3.rc1" and arguments["PYTHON_VERSION"] == "3.11"
    (release,) = (each for each in RELEASES if each.mindspore == arguments["MINDSPORE_VERSION"])
    assert release.mindspore == TESTED and release.cann == arguments["CANN_VERSION"].replace("rc", "RC")
    assert f"| {release.mindspore} | {release.cann} |" in (ROOT / "docs/doctor.md").read_text()
