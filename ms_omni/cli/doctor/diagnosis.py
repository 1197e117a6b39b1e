"""The checks of `doctor`: what was found, what is supported, a verdict, and what to do about a difference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ms_omni.hardware.cards import Card, npu_smi_version, parse_npu_smi
from ms_omni.hardware.machine import Machine
from ms_omni.mindspore_version import DRIVERS, Release, release_of, release_that_takes

OK, WARN, MISS, NOT_NEEDED = "ok", "warn", "miss", "n/a"

# The firmware of driver release 25.3.RC1, the only one whose own number we know
# (Ascend-hdk-910b-npu-firmware_7.8.0.2.212.run; the same for A3). Newer drivers and firmware serve older CANN.
PAIRED_FIRMWARE = "7.8.0.2.212"
# mindone's Qwen3-Omni example names these for its published figures.
MINDONE_DRIVER = "24.1.RC3.b080"
MINDONE_FIRMWARE = "7.5.T11.0.B088"
# What npu-smi calls the dies of an A3.
A3_IN_NPU_SMI = "Ascend910"
# What the released 30B checkpoint weighs (bf16), and what the tiny checkpoint is comfortable with.
RELEASED_CHECKPOINT_GB = 70.5
TINY_MEMORY_GB = 4
TINY_DISK_GB = 1
_OWN_ENVIRONMENT = "a virtual environment of its own for ms-omni gets what it needs and leaves this one as it is"
GUIDE = "hiascend.com has the installers and guides"


@dataclass(frozen=True)
class Check:
    """One line of the report. `advice` is empty when nothing need be done."""

    group: str
    name: str
    found: str
    supported: str
    verdict: str
    advice: str = ""


def diagnose(machine: Machine) -> list[Check]:
    """All checks, without importing MindSpore. A machine without a card gets "n/a" for the Ascend software."""
    table = machine.run(["npu-smi", "info"]) or ""
    cards = parse_npu_smi(table)
    has_card = bool(cards) or bool(machine.device_nodes())
    return [
        *_python_checks(machine),
        *_card_checks(machine, cards),
        *_ascend_checks(machine, has_card, machine.driver_version() or npu_smi_version(table)),
        *_resource_checks(machine),
    ]


def _python_checks(machine: Machine) -> list[Check]:
    try:
        declared = metadata.metadata("ms-omni")
    except metadata.PackageNotFoundError:
        advice = "pip install . in the project directory"
        return [Check("python", "ms-omni", "not installed", "installed", WARN, advice)]
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    supported = declared["Requires-Python"]
    right = SpecifierSet(supported).contains(machine.python)
    advice = "" if right else "make the virtual environment with Python 3.11"
    checks = [Check("python", "python", machine.python, supported, OK if right else WARN, advice)]
    for text in declared.get_all("Requires-Dist") or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            checks.append(_package_check(machine, requirement.name, str(requirement.specifier)))
    return [*checks, _openmp_check(machine)]


def _openmp_check(machine: Machine) -> Check:
    """MindSpore's wheel links to the system's OpenMP, which a minimal image lacks."""
    name = "libgomp.so.1"
    if machine.can_load(name):
        return Check("python", name, "found", "any", OK)
    return Check("python", name, "not found", "any", MISS, "apt install libgomp1 (or your system's package of it)")


def _package_check(machine: Machine, name: str, specifier: str) -> Check:
    from packaging.specifiers import SpecifierSet

    found = machine.version_of(name)
    install = f'pip install "{name}{specifier}"'
    if found is None:
        return Check("python", name, "not installed", specifier, MISS, install)
    if not SpecifierSet(specifier).contains(found, prereleases=True):
        advice = f"newer than is supported: {_OWN_ENVIRONMENT}" if _is_newer(found, specifier) else install
        return Check("python", name, found, specifier, WARN, advice)
    return Check("python", name, found, specifier, OK)


def _is_newer(found: str, specifier: str) -> bool:
    """Of a version that `specifier` does not contain: whether it is above its upper bound."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    bounds = [Version(spec.version) for spec in SpecifierSet(specifier) if spec.operator in ("==", "<", "<=")]
    return any(Version(found) >= bound for bound in bounds)


def _card_checks(machine: Machine, cards: list[Card]) -> list[Check]:
    nodes = machine.device_nodes()
    if not cards and not nodes:
        advice = "none needed: everything runs on MindSpore's CPU backend, in float32, slowly"
        return [Check("ascend", "cards", "none", "optional", OK, advice)]
    if not cards:
        names = ", ".join(f"/dev/davinci{node}" for node in nodes)
        advice = (
            "npu-smi info does not answer: put /usr/local/sbin on PATH; in a container, mount npu-smi and the driver"
        )
        return [Check("ascend", "cards", names, "listed by npu-smi", WARN, advice)]
    return [_card_check(card) for card in cards]


def _card_check(card: Card) -> Check:
    name = f"card {card.index}"
    if card.free_mib is None or card.total_mib is None:
        memory = "memory unknown"
    else:
        memory = f"{card.free_mib / 1024:.1f} of {card.total_mib / 1024:.1f} GiB free"
    found = f"{card.name}, health {card.health}, {memory}"
    if card.health.upper() != "OK":
        advice = f"npu-smi info -t health -i {card.index} names the fault"
        return Check("ascend", name, found, "health OK", WARN, advice)
    if not _is_known(card.name):
        advice = f"the operators are those of Atlas A2 and A3: not known to run on a {card.name}"
        return Check("ascend", name, found, "an A2 or A3", WARN, advice)
    if card.free_mib is not None and card.total_mib is not None and card.free_mib < 0.5 * card.total_mib:
        advice = "over half of the memory is taken: npu-smi info lists the processes"
        return Check("ascend", name, found, "health OK, free", WARN, advice)
    return Check("ascend", name, found, "health OK, free", OK)


def _is_known(name: str) -> bool:
    from ms_omni.errors import OmniError
    from ms_omni.planning.hardware import find_hardware

    try:
        return name == A3_IN_NPU_SMI or bool(find_hardware(name))
    except OmniError:
        return False


def _ascend_checks(machine: Machine, has_card: bool, driver: str | None) -> list[Check]:
    absent = MISS if has_card else NOT_NEEDED
    # Containers rarely see the firmware's files, and kernel packages have several names: absence proves less.
    unseen = WARN if has_card else NOT_NEEDED
    release, toolkit = release_of(machine.version_of("mindspore")), machine.cann_version("toolkit")
    cann = release.cann if toolkit is None or _minor(toolkit) not in DRIVERS else toolkit
    also = (MINDONE_DRIVER, MINDONE_FIRMWARE) if _minor(cann) == "8.3" else ("", "")
    checks = [
        _driver_check("driver", driver, DRIVERS[_minor(cann)], also[0], cann, absent),
        _driver_check("firmware", machine.firmware_version(), PAIRED_FIRMWARE, also[1], cann, unseen),
        _cann_check("CANN toolkit", toolkit, release, absent),
        _cann_check("CANN kernels", machine.cann_version("kernels"), release, unseen),
    ]
    if has_card and machine.cann_home() is not None and not machine.has_cann_environment():
        source = f"source {machine.cann_home()}/set_env.sh"
        checks.append(Check("ascend", "CANN environment", "ASCEND_HOME_PATH not set", "set", MISS, source))
    return checks


def _driver_check(name: str, found: str | None, least: str, also: str, cann: str, absent: str) -> Check:
    """`least`: the version from which all are right. `also`: an older one that is known to serve, or "". `cann`: what
    it is for. `absent`: the verdict when nothing was found."""
    supported = f"{least} or newer"
    if found is None:
        return _not_found(name, supported, absent)
    if _order(found) >= _order(least) or _normal(found) == _normal(also):
        return Check("ascend", name, found, supported, OK)
    advice = f"older than what CANN {cann} is paired with; if something fails, install {DRIVERS[_minor(cann)]} or newer"
    return Check("ascend", name, found, supported, WARN, advice)


def _cann_check(name: str, found: str | None, release: Release, absent: str) -> Check:
    supported = release.supported_cann
    if found is None:
        return _not_found(name, release.cann, absent)
    if _minor(found) in release.takes:
        return Check("ascend", name, found, supported, OK)
    other = release_that_takes(_minor(found), release)
    if other is not None:
        advice = f'MindSpore {release.mindspore} does not take it: pip install "mindspore=={other.mindspore}" does'
    elif _order(found) < _order(release.takes[0]):
        advice = f"older than what MindSpore {release.mindspore} takes; if something fails, install {release.cann}"
    else:  # no reason to take a working one away
        advice = (
            f"newer than what MindSpore {release.mindspore} takes: ms-omni accept shows whether it serves; if not, a "
            f"container with {release.cann} leaves this one as it is (docs/doctor.md)"
        )
    return Check("ascend", name, found, supported, WARN, advice)


def _not_found(name: str, supported: str, verdict: str) -> Check:
    advice = "" if verdict == NOT_NEEDED else f"install {name} {supported}, or mount it into the container; {GUIDE}"
    return Check("ascend", name, "not found", supported, verdict, advice)


def _order(version: str) -> list[tuple[int, int]]:
    """To compare by: 24.1.RC3 < 24.1.RC3.b080 < 24.1.0 < 25.3.RC1 < 25.3.0."""
    parts = (re.fullmatch(r"([a-z]*)(\d+).*", part) for part in _normal(version).split("."))
    return [(0 if match[1] == "rc" else 1, int(match[2])) for match in parts if match]


def _minor(version: str) -> str:
    """Major and minor number: 8.3 of 8.3.RC1."""
    return ".".join(version.split(".")[:2])


def _normal(version: str) -> str:
    """Installers write 8.3.RC1 and 8.3.rc1 for the same release."""
    return re.sub(r"[^a-z0-9.]", "", version.lower())


def _resource_checks(machine: Machine) -> list[Check]:
    checks = []
    memory = machine.free_memory_bytes()
    if memory is not None:
        checks.append(_space_check("free memory", memory, TINY_MEMORY_GB))
    return [*checks, _space_check("free disk here", machine.free_disk(Path.cwd()), TINY_DISK_GB)]


def _space_check(name: str, found_bytes: int, wanted_gb: int) -> Check:
    found_gb = found_bytes / 1e9
    verdict, advice = OK, ""
    if found_gb < wanted_gb:
        verdict, advice = WARN, "too little even for the tiny checkpoint: make room"
    elif found_gb < RELEASED_CHECKPOINT_GB:
        advice = f"enough for the tiny checkpoint; the released one has {RELEASED_CHECKPOINT_GB} GB of weights"
    return Check("resources", name, f"{found_gb:.1f} GB", f"{wanted_gb} GB or more", verdict, advice)


def mindspore_run_check(machine: Machine) -> Check:
    """MindSpore's `run_check()`, in a process of its own because a broken installation may crash it."""
    output = machine.run([machine.executable, "-c", "import mindspore; mindspore.run_check()"])
    if output is not None and "successfully" in output:
        where = re.search(r"platform \[(\w+)\]", output)
        found = f"passed on {where[1]}" if where else "passed"
        return Check("python", "mindspore run_check", found, "passes", OK)
    advice = 'python -c "import mindspore; mindspore.run_check()" shows the reason'
    return Check("python", "mindspore run_check", "failed", "passes", MISS, advice)
