"""`doctor` on machines made of files: no card, the supported stack, and each kind of miss."""

import argparse
import json
from pathlib import Path

import pytest
from npu_smi_samples import ONE_310P, ONE_910C_WITH_TWO_CHIPS, TWO_910B3

from ms_omni.cli import doctor
from ms_omni.cli.doctor.diagnosis import diagnose, mindspore_run_check
from ms_omni.hardware.machine import Machine, installed_version, run_command

VERSIONS = {"mindspore": "2.7.1", "mindone": "0.5.0", "transformers": "4.57.1", "numpy": "1.26.4", "jinja2": "3.1.6"}
IDLE_910B3 = TWO_910B3.replace("Warning", "OK     ").replace("53984", " 3200")
EIGHT_910B3 = "".join(
    f"| {index}     910B3               | OK            | 90.7        37                0    / 0             |\n"
    f"| 0                         | 0000:C{index}:00.0  | 7           0    / 0          3200 / 65536         |\n"
    for index in range(8)
)
SUPPORTED_FILES = {
    "/etc/ascend_install.info": "UserName=HwHiAiUser\nDriver_Install_Path_Param=/opt/Ascend\n"
    "Firmware_Install_Path_Param=/opt/Ascend\n",
    "/opt/Ascend/driver/version.info": "Version=24.1.rc3.b080\nascendhal_version=7.35.23\npackage_version=24.1.rc3\n",
    "/opt/Ascend/firmware/version.info": "Version=7.5.T11.0.B088\nfirmware_version=1.0\n",
    "/cann/version.cfg": "# version: 1.0\ntoolkit_running_version=[7.7.0.1.1:8.3.RC1]\n"
    "opp_kernel_running_version=[7.7.0.1.1:8.3.RC1]\n",
    "/proc/meminfo": "MemTotal:       32000000 kB\nMemAvailable:   16000000 kB\n",
}


@pytest.fixture
def machine(tmp_path):
    """machine(files, smi=..., **overrides): a Machine whose files, commands and packages are these."""

    def make(files=SUPPORTED_FILES, smi=None, **overrides):
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        settings = {
            "root": tmp_path,
            "environ": {},
            "run": lambda words: smi if words == ["npu-smi", "info"] else None,
            "version_of": lambda name: VERSIONS.get(name, "99"),
            "can_load": lambda name: True,
            "free_disk": lambda path: 10**11,
            "python": "3.11.7",
        }
        return Machine(**{**settings, **overrides})

    return make


def by_name(machine):
    return {check.name: check for check in diagnose(machine)}


def run_doctor(machine, capsys, as_json):
    code = doctor.run(argparse.Namespace(model=None, json=as_json, run_check=False, debug=False), machine)
    return code, capsys.readouterr().out


def test_no_card_is_no_fault(machine, capsys):
    bare = machine({"/proc/meminfo": SUPPORTED_FILES["/proc/meminfo"]})
    code, out = run_doctor(bare, capsys, as_json=True)
    report = json.loads(out)
    verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
    assert code == 0 and report["ready"] is True and len(report["ready_for"]) == 1
    assert verdicts["cards"] == "ok" and verdicts["mindspore"] == "ok"
    assert {verdicts[name] for name in ("driver", "firmware", "CANN toolkit", "CANN kernels")} == {"n/a"}
    assert "CPU" in by_name(bare)["cards"].advice


def test_the_supported_stack(machine):
    checks = by_name(machine(smi=TWO_910B3.replace("Warning", "OK     "), environ={"ASCEND_HOME_PATH": "/cann"}))
    found = {name: (checks[name].found, checks[name].verdict) for name in ("driver", "firmware", "CANN toolkit")}
    assert found == {
        "driver": ("24.1.rc3.b080", "ok"),
        "firmware": ("7.5.T11.0.B088", "ok"),
        "CANN toolkit": ("8.3.RC1", "ok"),
    }
    assert checks["CANN kernels"].verdict == "ok" and "CANN environment" not in checks
    assert checks["card 1"].found == "910B3, health OK, 60.8 of 64.0 GiB free" and checks["card 1"].verdict == "ok"
    assert checks["card 0"].verdict == "warn" and "taken" in checks["card 0"].advice


def test_an_unhealthy_card(machine):
    check = by_name(machine(smi=TWO_910B3, environ={"ASCEND_HOME_PATH": "/cann"}))["card 1"]
    assert check.verdict == "warn" and "npu-smi info -t health -i 1" in check.advice


def test_a_card_without_its_software(machine, capsys):
    code, out = run_doctor(machine({"/dev/davinci0": "", "/dev/davinci_manager": ""}), capsys, as_json=True)
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 1 and checks["cards"]["found"] == "/dev/davinci0" and "npu-smi" in checks["cards"]["advice"]
    for name, version in (("driver", "25.3.RC1 or newer"), ("CANN toolkit", "8.3.RC1")):
        assert checks[name]["verdict"] == "miss" and version in checks[name]["advice"]
    assert {checks[name]["verdict"] for name in ("firmware", "CANN kernels")} == {"warn"}


def test_a_container_without_the_version_files_takes_the_driver_from_npu_smi(machine):
    check = by_name(machine({}, smi=TWO_910B3))["driver"]
    assert (check.found, check.verdict) == ("24.1.rc3.b080", "ok")


def test_other_versions_warn(machine):
    files = {**SUPPORTED_FILES, "/opt/Ascend/driver/version.info": "Version=25.2.0\n"}
    checks = by_name(machine(files, smi=TWO_910B3, version_of=lambda name: {"mindspore": "2.6.0"}.get(name, "99")))
    assert (checks["driver"].found, checks["driver"].verdict) == ("25.2.0", "warn")
    assert checks["mindspore"].verdict == "warn" and "pip install" in checks["mindspore"].advice


@pytest.mark.parametrize(
    ("driver", "firmware", "verdicts"),
    [
        ("25.3.rc1", "7.8.0.2.212", ("ok", "ok")),
        ("25.3.rc1.2", "7.8.0.2.212", ("ok", "ok")),
        ("25.5.0", "7.8.0.5.216", ("ok", "ok")),
        ("25.2.0", "7.7.0.6.236", ("warn", "warn")),
        ("24.1.RC3.b080", "7.5.T11.0.B088", ("ok", "ok")),
        ("24.1.0", "7.5.0.3.220", ("warn", "warn")),
        ("23.0.1", "7.1.0.3.220", ("warn", "warn")),
    ],
)
def test_no_newer_driver_is_advised_against(machine, driver, firmware, verdicts):
    files = {
        **SUPPORTED_FILES,
        "/opt/Ascend/driver/version.info": f"Version={driver}\n",
        "/opt/Ascend/firmware/version.info": f"Version={firmware}\n",
    }
    checks = by_name(machine(files, smi=TWO_910B3))
    assert (checks["driver"].verdict, checks["firmware"].verdict) == verdicts
    for check in (checks["driver"], checks["firmware"]):
        assert "24.1" not in check.advice and ("25.3.RC1 or newer" in check.advice) is (check.verdict == "warn")


@pytest.mark.parametrize(
    ("cann", "verdict", "advice"),
    [
        ("8.3.RC1", "ok", ""),
        ("8.2.RC1", "warn", "if something fails, install 8.3.RC1"),
        ("8.5.0", "warn", 'MindSpore 2.7.1 does not take it: pip install "mindspore==2.7.2" does'),
        ("9.9.0", "warn", "newer than what MindSpore 2.7.1 takes: ms-omni accept shows whether it serves"),
    ],
)
def test_no_older_cann_is_advised(machine, cann, verdict, advice):
    files = {**SUPPORTED_FILES, "/cann/version.cfg": SUPPORTED_FILES["/cann/version.cfg"].replace("8.3.RC1", cann)}
    checks = by_name(machine(files, smi=IDLE_910B3, environ={"ASCEND_HOME_PATH": "/cann"}))
    for name in ("CANN toolkit", "CANN kernels"):
        assert checks[name].verdict == verdict and advice in checks[name].advice
        assert ("install 8.3.RC1" in checks[name].advice) is (cann == "8.2.RC1")


@pytest.mark.parametrize(
    ("mindspore", "cann", "verdict", "advice", "driver"),
    [
        ("2.7.1.post1", "8.3.RC1", "ok", "", "25.3.RC1"),
        ("2.7.2", "8.3.RC1", "warn", '"mindspore==2.8.0" does', "25.3.RC1"),
        ("2.7.2", "8.5.0", "ok", "", "25.5.0"),
        ("2.8.0", "8.3.RC1", "ok", "", "25.3.RC1"),
        ("2.8.0", "8.5.0", "ok", "", "25.5.0"),
        ("2.8.0", "9.0.0", "warn", '"mindspore==2.9.0" does', "26.0.RC1"),
        ("2.9.0", "9.0.1", "ok", "", "26.0.RC1"),
        ("2.10.0", "8.5.2", "ok", "", "25.5.0"),
        ("2.10.0", "9.1.0", "ok", "", "26.0.RC1"),
        ("2.10.0", "9.2.0", "warn", "newer than what MindSpore 2.10.0 takes", "26.0.RC1"),
        ("2.10.0", "8.2.RC1", "warn", "if something fails, install 9.1.0", "26.0.RC1"),
        ("2.6.0", "8.3.RC1", "ok", "", "25.3.RC1"),
    ],
)
def test_what_goes_with_which_mindspore(machine, mindspore, cann, verdict, advice, driver):
    files = {**SUPPORTED_FILES, "/cann/version.cfg": SUPPORTED_FILES["/cann/version.cfg"].replace("8.3.RC1", cann)}
    versions = {**VERSIONS, "mindspore": mindspore}
    settings = {"environ": {"ASCEND_HOME_PATH": "/cann"}, "version_of": lambda name: versions.get(name, "99")}
    checks = by_name(machine(files, smi=IDLE_910B3, **settings))
    assert {checks[name].verdict for name in ("CANN toolkit", "CANN kernels")} == {verdict}
    assert advice in checks["CANN toolkit"].advice and checks["driver"].supported == f"{driver} or newer"
    # mindone's figures were made with driver 24.1.RC3.b080 and CANN 8.3.RC1
    assert checks["driver"].verdict == ("ok" if driver == "25.3.RC1" else "warn")


def test_every_supported_mindspore_has_its_cann():
    from ms_omni.mindspore_version import DRIVERS, RELEASES

    for release in RELEASES:
        assert release.cann.startswith(release.takes[-1]) and set(release.takes) <= set(DRIVERS)


@pytest.mark.parametrize(
    ("name", "found", "newer"),
    [("mindspore", "2.11.0", True), ("mindspore", "2.6.0", False), ("numpy", "2.1.0", True), ("numpy", "1.24", False)],
)
def test_no_older_package_is_advised(machine, name, found, newer):
    check = by_name(machine(version_of=lambda other: found if other == name else VERSIONS.get(other, "99")))[name]
    assert check.verdict == "warn" and ("pip install" in check.advice) is not newer
    assert ("newer than is supported: a virtual environment of its own" in check.advice) is newer


ON_A_CARD = {"smi": IDLE_910B3, "environ": {"ASCEND_HOME_PATH": "/cann"}, "version_of": installed_version}
SMALL_CARDS = IDLE_910B3.replace("910B3", "910B4").replace("65536", "32768")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "ready for the released model on 2 cards in bfloat16"),
        ({"smi": SMALL_CARDS}, "ready for small models on 2 cards; the released one needs 4 such cards in bfloat16"),
        ({"smi": ONE_910C_WITH_TWO_CHIPS}, "ready for the released model on 2 cards in bfloat16"),
        (
            {"environ": {"ASCEND_HOME_PATH": "/cann", "ASCEND_RT_VISIBLE_DEVICES": "1"}},
            "ready for small models on 1 card; the released one needs 2 such cards in bfloat16",
        ),
        (
            {"smi": TWO_910B3.replace("Warning", "OK     ")},
            "ready for small models on 1 card, but for the warnings above; the released one needs 2 such cards in "
            "bfloat16",
        ),
        ({"smi": EIGHT_910B3}, "ready for the released model on 8 cards in bfloat16 (2 are enough)"),
        ({"smi": TWO_910B3}, None),  # one is busy, one is ill
        ({"smi": ONE_310P}, None),
        ({"smi": None}, None),
        ({"files": {"/proc/meminfo": SUPPORTED_FILES["/proc/meminfo"]}}, None),  # no CANN
    ],
)
def test_what_the_machine_is_ready_for(machine, capsys, changed, expected):
    _, out = run_doctor(machine(**{**ON_A_CARD, **changed}), capsys, as_json=False)
    said = [line for line in out.splitlines() if line.startswith("ready")]
    assert said == ["ready to try on a CPU", expected][: 1 if expected is None else 2]


def test_cards_of_other_kinds(machine):
    checks = by_name(machine(smi=ONE_910C_WITH_TWO_CHIPS))
    assert [checks[f"card {index}"].verdict for index in (2, 3)] == ["ok", "ok"]
    check = by_name(machine(smi=ONE_310P))["card 0"]
    assert check.verdict == "warn" and "not known to run on a 310P3" in check.advice
    for name in ("910B4  ", "910B4-1", "910B2C "):
        known = by_name(machine(smi=TWO_910B3.replace("910B3  ", name)))["card 0"]
        assert known.found.startswith(name.strip()) and "taken" in known.advice


def test_operators_of_an_a3_have_another_package_name(machine):
    home = "/usr/local/Ascend/ascend-toolkit/latest"
    files = {f"{home}/aarch64-linux/atlas_a3_kernels_install.info": "version=8.3.RC1\n"}
    assert by_name(machine(files, smi=ONE_910C_WITH_TWO_CHIPS))["CANN kernels"].found == "8.3.RC1"


def test_cann_from_its_install_files_and_usual_place(machine):
    home = "/usr/local/Ascend/ascend-toolkit/latest"
    files = {
        f"{home}/aarch64-linux/ascend_toolkit_install.info": "package_name=Ascend-cann-toolkit\nversion=8.2.RC1\n",
        f"{home}/aarch64-linux/ascend_910b_kernels_install.info": "version=8.1.RC1\n",
    }
    checks = by_name(machine(files, smi=TWO_910B3))
    assert (checks["CANN toolkit"].found, checks["CANN kernels"].found) == ("8.2.RC1", "8.1.RC1")
    assert checks["CANN environment"].verdict == "miss"
    assert checks["CANN environment"].advice == f"source {home}/set_env.sh"


def test_a_missing_package_is_a_miss(machine, capsys):
    broken = machine(version_of=lambda name: None if name == "soxr" else VERSIONS.get(name, "99"))
    code, out = run_doctor(broken, capsys, as_json=False)
    assert code == 1 and "missing: soxr" in out and "\nready" not in out and 'pip install "soxr' in out


def test_missing_openmp_wrong_python_little_space(machine):
    files = {"/proc/meminfo": "MemAvailable:   1000000 kB\n"}
    checks = by_name(machine(files, can_load=lambda name: False, python="3.12.1", free_disk=lambda path: 10**8))
    assert checks["libgomp.so.1"].verdict == "miss" and "libgomp1" in checks["libgomp.so.1"].advice
    assert [checks[name].verdict for name in ("python", "free memory", "free disk here")] == ["warn"] * 3


def test_readiness_does_not_hide_warnings(machine, capsys):
    _, out = run_doctor(machine({"/proc/meminfo": "MemAvailable:   1000000 kB\n"}), capsys, as_json=False)
    assert out.splitlines()[-1] == "ready to try on a CPU, but for the warnings above"


def test_mindspore_run_check(machine):
    said = "MindSpore version: 2.7.1\nMindSpore has been installed on platform [CPU] successfully!"
    assert mindspore_run_check(machine(run=lambda words: said)).found == "passed on CPU"
    assert mindspore_run_check(machine(run=lambda words: None)).verdict == "miss"


def test_this_machine(cli):
    result = cli("doctor", "--json")
    report = json.loads(result.out)
    assert report["ready"] is (result.code == 0) and result.err == ""
    assert {check["verdict"] for check in report["checks"]} <= {"ok", "warn", "miss", "n/a"}
    assert all(check["advice"] for check in report["checks"] if check["verdict"] in ("warn", "miss"))


def test_commands_that_fail_hang_or_are_absent():
    assert run_command(["no-such-command-here"]) is None
    assert run_command(["false"]) is None
    assert run_command(["echo", "hello"]) == "hello\n"


def test_paths_are_taken_below_the_root(tmp_path):
    assert Machine(root=tmp_path).path("/etc/x") == Path(tmp_path, "etc/x")
