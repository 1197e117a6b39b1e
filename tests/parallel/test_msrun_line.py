"""The msrun line and the environment of a job, without running it."""

import shlex
import sys
from pathlib import Path

import pytest

from ms_omni.errors import OmniError
from ms_omni.parallel.msrun import (
    SETTINGS,
    JobSpec,
    check_port,
    find_msrun,
    free_port,
    job_environment,
    job_settings,
    msrun_line,
    shell_text,
)

PAGE = Path(__file__).parents[2] / "docs" / "several-cards.md"


def spec(**changes):
    return JobSpec(
        **{"cards": 2, "words": ("doctor", "--json"), "log_dir": Path("logs"), "master_port": 9000, **changes}
    )


def test_one_machine():
    assert msrun_line(spec(), "/bin/msrun") == [
        "/bin/msrun",
        "--worker_num=2",
        "--local_worker_num=2",
        "--master_addr=127.0.0.1",
        "--master_port=9000",
        "--log_dir=logs",
        "--join=True",
        "--cluster_time_out=300",
        "--tail_worker_log=2",
        *("python", "-m", "ms_omni.parallel.rank_program", "logs", "doctor", "--json"),
    ]


def test_several_machines():
    job = spec(cards=8, nodes=2, node_rank=1, master_addr="10.0.0.1", group_size=4, binds_cores=True, time_out_s=60)
    line = msrun_line(job, "msrun")
    assert job.world_size == 16 and list(job.local_ranks) == list(range(8, 16))
    wanted = {"--worker_num=16", "--local_worker_num=8", "--node_rank=1", "--master_addr=10.0.0.1"}
    assert wanted | {"--bind_core=True", "--cluster_time_out=60"} <= set(line)


def test_group_size_counts_over_all_machines():
    spec(cards=3, nodes=2, group_size=2)
    with pytest.raises(OmniError, match="--group-size 2: does not divide the 3 processes"):
        spec(cards=3, group_size=2)


def test_settings_of_each_device():
    ascend = job_settings(spec(), {}, "Ascend", num_cores=8)
    assert ascend["HCCL_CONNECT_TIMEOUT"] == "1800" and "OMP_NUM_THREADS" not in ascend
    cpu = job_settings(spec(group_size=1), {"PATH": "/x"}, "CPU", num_cores=8)
    assert cpu["OMP_NUM_THREADS"] == "4" and "HCCL_CONNECT_TIMEOUT" not in cpu
    assert cpu["MS_OMNI_GROUP_SIZE"] == "1" and "MS_OMNI_GROUP_SIZE" not in ascend
    assert cpu["PATH"] == f"{Path(sys.executable).parent}:/x"
    assert job_settings(spec(cards=4), {}, "CPU", num_cores=2)["OMP_NUM_THREADS"] == "1"
    assert "GLOG_v" in cpu and "GLOG_v" not in job_settings(spec(), {}, "CPU", 8, debug=True)


def test_collectives_begun_by_the_card_are_for_one_communicator_of_one_machine():
    name = "HCCL_OP_EXPANSION_MODE"
    for one in (spec(), spec(group_size=2)):
        assert job_settings(one, {}, "Ascend", 8)[name] == "AIV" and name not in job_settings(one, {}, "CPU", 8)
    several = spec(group_size=1), spec(cards=4, group_size=2), spec(nodes=2), spec(nodes=2, group_size=2)
    assert all(name not in job_settings(job, {}, "Ascend", 8) for job in several)
    assert name not in job_settings(spec(), {name: "HOST"}, "Ascend", 8)


def test_the_user_wins_and_an_earlier_job_leaves_nothing():
    user = {"HCCL_CONNECT_TIMEOUT": "7", "RANK_ID": "3", "MS_ROLE": "MS_WORKER", "MS_COMPILER_CACHE_ENABLE": "1"}
    environment = job_environment(job_settings(spec(), user, "Ascend", 8), user)
    assert environment["HCCL_CONNECT_TIMEOUT"] == "7" and environment["MS_COMPILER_CACHE_ENABLE"] == "1"
    assert "RANK_ID" not in environment and "MS_ROLE" not in environment


def test_shell_text_is_what_a_shell_reads():
    text = shell_text(["msrun", "a b"], {"X": "1 2"})
    unset, export, line = text.splitlines()
    assert unset.startswith("unset MS_ROLE ") and shlex.split(export) == ["export", "X=1 2"]
    assert shlex.split(line) == ["msrun", "a b"]


def test_every_setting_is_documented():
    page = PAGE.read_text()
    for setting in SETTINGS:
        row = f"| `{setting.name}` | {setting.value} | {setting.device or 'all'} | {setting.why} |"
        assert row in page, row


def test_ports():
    port = free_port()
    check_port(port)
    with pytest.raises(OmniError, match="--master-port 80: expected 1024 to 65535"):
        check_port(80)


def test_a_drawn_port_is_no_connections(monkeypatch):
    """Systems give connections ports from 32768 on, and nothing may come between drawing one and listening there."""
    assert all(1024 < free_port() < 32_768 for _ in range(20))
    monkeypatch.setattr("ms_omni.parallel.msrun._is_free", lambda port: False)
    with pytest.raises(OmniError, match="--master-port: no free port found from 20000 to 32000; name one"):
        free_port()


def test_missing_msrun(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OmniError, match=r"msrun: neither beside .* nor on PATH; .*mindspore==2.7.1"):
        find_msrun()
    (tmp_path / "msrun").touch()
    assert find_msrun() == str(tmp_path / "msrun")
