"""The orchestrator as its users drive it: code locations, assets, jobs, sensors, schedules, backfills, pools."""
import os
import shutil

import pytest
from installation import BIN, wait_for


@pytest.fixture
def hello(bare_home):
    """A home whose only code location is the example, as a binary that a test may replace."""
    (bare_home.home / "bin").mkdir()
    bare_home.binary = bare_home.home / "bin/catchment-hello"
    shutil.copy(BIN / "catchment-hello", bare_home.binary)
    bare_home.dev_arguments = ["--location", str(bare_home.binary)]
    return bare_home.start()


def replace(path, write):
    """Puts a file in the place of another at once, as a linker does."""
    new = path.with_suffix(".new")
    write(new)
    new.chmod(0o755)
    os.replace(new, path)


def location(home, name="hello"):
    return next(one for one in home.cli("location", "list")["locations"] if one["name"] == name)


def test_what_a_location_defines_is_listed_selected_and_made(hello):
    assert hello.ready["locations"][0]["here"], hello.ready
    assert location(hello)["counts"]["assets"] == 2
    listed = hello.cli("asset", "list", "1+word_count")["assets"]
    assert [asset["key"] for asset in listed] == ["words", "word_count"]
    assert [job["name"] for job in hello.cli("job", "list")["jobs"]] == ["count"]

    refused = hello.cli("asset", "materialize", "*", ok=False)
    assert refused.returncode == 2 and "partition" in refused.stderr
    refused = hello.cli("asset", "materialize", "*", "--partition", "2025-01-01", ok=False)
    assert refused.returncode == 2 and "2025-01-01" in refused.stderr
    refused = hello.cli("asset", "materialize", "no_such_asset", ok=False)
    assert refused.returncode == 2 and "no_such_asset" in refused.stderr
    refused = hello.cli("job", "launch", "count", "--partition", "2026-01-05", "--tag", "dagster/backfill=x", ok=False)
    assert refused.returncode == 2 and "dagster/priority" in refused.stderr

    (hello.home / "inbox").mkdir(exist_ok=True)
    made = hello.cli("asset", "materialize", "+word_count", "--partition", "2026-01-05", "--tag", "dagster/priority=3",
                     "--wait")
    assert made["status"] == "SUCCESS" and made["tags"]["dagster/partition"] == "2026-01-05"
    shown = hello.cli("asset", "show", "words")
    assert shown["materialized_by"] == made["run_id"] and shown["partition_counts"]["materialized"] == 1
    keys = hello.cli("partition", "list", "day", "--asset", "words")["keys"]
    assert {key["key"]: key["status"] for key in keys}["2026-01-05"] == "MATERIALIZED"
    assert {key["key"]: key["status"] for key in keys}["2026-01-06"] == "MISSING"

    again = hello.cli("run", "reexecute", made["run_id"][:8], "--steps", "word_count", "--wait")
    assert again["status"] == "SUCCESS" and again["parent_run_id"] == made["run_id"]
    refused = hello.cli("run", "reexecute", made["run_id"], "--from-failure", ok=False)
    assert "SUCCESS" in refused.stderr
    hello.cli("run", "delete", again["run_id"])
    assert hello.cli("run", "show", again["run_id"], ok=None).returncode == 2


def test_sensors_and_schedules_are_started_stopped_and_tried(hello):
    (hello.home / "inbox").mkdir(exist_ok=True)
    (hello.home / "inbox/2026-01-07.txt").write_text("one two")
    sensor = hello.cli("sensor", "stop", "inbox_sensor")
    assert not sensor["running"]
    dry = hello.cli("sensor", "tick", "inbox_sensor", "--dry-run")
    assert dry["run_requests"][0]["partition_key"] == "2026-01-07"
    assert hello.cli("sensor", "tick", "inbox_sensor", ok=False).returncode == 1
    hello.cli("sensor", "reset", "inbox_sensor")
    wait_for(lambda: hello.cli("run", "list", "--job", "count", "--status", "SUCCESS")["runs"], 60,
             saying="the sensor's run did not end well")
    tick = hello.cli("sensor", "tick", "inbox_sensor")
    assert tick["status"] in ("SUCCESS", "SKIPPED")
    assert hello.cli("sensor", "ticks", "inbox_sensor")["ticks"][0]["id"] >= tick["id"]
    schedule = hello.cli("schedule", "list")["instigators"][0]
    assert schedule["running"] and schedule["next_at"]


def test_a_backfill_fills_a_range_and_can_be_paused(hello):
    (hello.home / "inbox").mkdir(exist_ok=True)
    made = hello.cli("backfill", "create", "+word_count", "--from", "2026-02-01", "--to", "2026-02-03",
                     "--partitions-per-run", "1", "--title", "February")
    assert made["partitions"] == 3
    ended = wait_for(lambda: (found := hello.cli("backfill", "show", made["id"]))["ended_at"] and found, 90,
                     saying="the backfill did not end")
    assert ended["status"] == "COMPLETED_SUCCESS", ended
    paused = hello.cli("backfill", "create", "*", "--partitions", "2026-03-01")
    hello.cli("backfill", "pause", paused["id"], ok=None)
    assert len(hello.cli("backfill", "list")["backfills"]) == 2


def test_pools_and_the_instance_are_shown(hello):
    assert hello.cli("pool", "set", "gpu", 2)["pools"] == [{"name": "gpu", "limit": 2, "held": 0, "waiting": 0}]
    assert hello.cli("pool", "set", "gpu", 2000, ok=False).returncode == 2
    info = wait_for(lambda: (found := hello.cli("instance", "info"))["daemons"] and found)
    assert info["leading"] and any(daemon["daemon"] == "SENSOR" for daemon in info["daemons"])
    assert hello.cli("alert", "list")["alerts"] == []
    assert hello.cli("check", "list")["checks"][0]["name"] == "not_empty"


def test_a_changed_binary_reloads_by_itself_and_a_broken_one_leaves_the_old(hello):
    first = location(hello)
    broken = "#!/bin/sh\necho definitions are broken >&2\nexit 2\n"
    replace(hello.binary, lambda new: new.write_text(broken))
    wait_for(lambda: location(hello)["problem"], saying="the broken binary was not told")
    now = location(hello)
    assert now["here"] and "definitions are broken" in now["problem"]["cause"]
    assert hello.cli("sensor", "tick", "inbox_sensor", "--dry-run")["problem"] is None
    replace(hello.binary, lambda new: shutil.copy(BIN / "catchment-hello", new))
    wait_for(lambda: location(hello)["problem"] is None, saying="the mended binary was not loaded")
    assert location(hello)["loaded_at"] > first["loaded_at"]
    assert hello.cli("location", "reload", "hello")["locations"][0]["here"]


def test_a_location_that_is_away_disturbs_no_other(bare_home):
    (bare_home.home / "workspace.yaml").write_text(
        f"load_from:\n- binary: {{path: {BIN / 'catchment-hello'}, location_name: hello}}\n"
        "- grpc_server: {host: 127.0.0.1, port: 9, location_name: gone}\n"
    )
    home = bare_home.start()
    assert location(home)["here"]
    gone = location(home, "gone")
    assert not gone["here"] and gone["problem"]["remedy"]
    (home.home / "inbox").mkdir(exist_ok=True)
    made = home.cli("job", "launch", "count", "--partition", "2026-01-05", "--wait")
    assert made["status"] == "SUCCESS"


def test_a_workspace_that_is_wrong_is_told_before_anything_starts(bare_home):
    (bare_home.home / "workspace.yaml").write_text("load_from:\n- python_file: defs.py\n")
    done = bare_home.cli("dev", "--web", "127.0.0.1:0", "--s3", "127.0.0.1:0", ok=None)
    assert done.returncode == 2 and "$.load_from[0].python_file" in done.stderr
