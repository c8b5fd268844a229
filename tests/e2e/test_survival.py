"""Whatever is killed, wherever: every batch is in the lake once or failed with a reason, and lake and ledger agree."""
import json
import signal

import botocore.exceptions
import pytest
from installation import TOWN, wait_for

POINTS = [
    "s3.blob_written", "s3.before_index_commit", "s3.after_index_commit",
    "daemon.admitted", "etl.claim_recorded", "etl.claim_archived", "daemon.claims_finished",
    "daemon.after_launch_command", "daemon.before_spawn", "daemon.after_spawn",
    "run.started", "etl.written", "run.before_commit", "lake.reserved", "lake.uploaded", "lake.before_commit", "lake.after_commit",
    "lake.after_activity", "run.before_event", "run.after_event", "run.before_end",
]


def reached(home):
    """Whether some process has come to its fail point and said so."""
    return any("fail point reached" in log.read_text(errors="replace") for log in home.home.glob("logs/**/*.log"))


def announce(home, batch_id):
    """Puts the batch as a client with retries does: an error of the connection is no answer."""
    try:
        home.put_batch(batch_id, TOWN / "hydrants.fgb", dataset="hydrants")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
        pass


def settle(home, batch_id):
    """Waits for the batch's end; puts it again where its upload was never acknowledged."""
    listed = home.s3().list_objects_v2(Bucket="landing-zone").get("Contents", [])
    announced = any(batch_id in o["Key"] and "manifests/" in o["Key"] for o in listed)
    if not announced and home.batch(batch_id) is None:
        announce(home, batch_id)
    return home.ended(batch_id)


def is_accounted_for(home, batch_id):
    """The batch's end is one of the two that are allowed, and the lake is clean after a sweep."""
    record = settle(home, batch_id)
    versions = home.versions("hydrants")
    if record["manifest"]["status"] == "success":
        assert len(versions) == 1, versions
    else:
        assert record["manifest"]["error_message"], record
        assert versions == []
    runs = [r for r in home.get("/api/v1/runs")["runs"] if r["tags"].get("dagster/run_key") == batch_id]
    assert len(runs) == 1, runs
    home.cli("lake", "gc", "--grace", "0s")
    assert home.cli("lake", "verify")["clean"] is True
    assert home.cli("lake", "gc", "--grace", "0s", "--dry-run")["garbage"] == []
    return record


@pytest.mark.parametrize("everything", [False, True], ids=["one-process", "power-cut"])
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_this_point_loses_and_doubles_nothing(bare_home, point, everything):
    home = bare_home.start(CATCHMENT_FAILPOINTS=f"{point}=kill")
    announce(home, "survivor")
    wait_for(lambda: reached(home), 30, saying=f"nobody came to {point}")
    if everything:
        home.kill_all()
    else:
        home.stop()
    home.start()
    is_accounted_for(home, "survivor")


def test_a_run_that_is_suspended_past_its_lease_commits_nothing(bare_home):
    home = bare_home.start(CATCHMENT_FAILPOINTS="lake.before_commit=stop")
    announce(home, "sleeper")
    wait_for(lambda: reached(home), 30, saying="the run did not come to its commit")
    record = home.ended("sleeper", 60)
    home.kill("execute-run", signal.SIGCONT)
    assert record["manifest"]["status"] == "failure"
    wait_for(lambda: not home.pids("execute-run"), 30, saying="the suspended run still lives")
    assert home.versions("hydrants") == []
    home.stop()
    home.start()
    is_accounted_for(home, "sleeper")


@pytest.mark.parametrize("name", ["s3 --listen", "webserver", "catchment daemon", "code-server"])
def test_a_service_that_is_killed_comes_back_and_work_goes_on(home, name):
    announce(home, "before")
    assert home.kill(name) == 1
    wait_for(lambda: home.pids(name), 20, saying=f"{name} did not come back")
    record = is_accounted_for(home, "before")
    assert record["manifest"]["status"] == "success"


def test_a_second_start_on_the_same_home_is_refused_with_the_pid_of_the_first(home):
    done = home.cli("dev", "--web", "127.0.0.1:0", "--s3", "127.0.0.1:0", ok=None)
    assert done.returncode != 0
    assert str(home.dev.pid) in done.stdout + done.stderr


def test_what_was_there_is_there_after_a_restart(home):
    announce(home, "first")
    assert home.ended("first")["manifest"]["status"] == "success"
    home.kill_all()
    home.start()
    assert [v["version"] for v in home.versions("hydrants")] == [1]
    assert json.dumps(home.get("/api/v1/runs")).count("SUCCESS") >= 1
