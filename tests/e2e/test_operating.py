"""What an operator does to an installation that runs: cursors, cancels, partitions, backfills, pools, alerts, and mistakes."""
import http.server
import json
import pathlib
import signal
import subprocess
import threading
import time

import pytest
from installation import BIN, wait_for
from postgres import free_port

PARTS = list("abcdefgh")
NO_RUN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def bench(bare_home):
    """The code location of the benchmarks: jobs with a pool, fixed partitions, a sensor that counts, a schedule."""
    return bare_home.with_location("bench", "catchment-bench-location").start()


@pytest.fixture
def hello(bare_home):
    """The example: assets by day, whose values are files in the home's `storage`."""
    return bare_home.with_location("hello", "catchment-hello").start()


def refusal(home, *arguments):
    """The exit code and the problem of a command that is refused."""
    done = home.cli(*arguments, ok=False)
    return done.returncode, json.loads(done.stderr)["problem"]


def answer(home, method, path, body=None):
    """The status and the JSON of any answer of the API."""
    token = (home.home / "api-token").read_text().strip()
    given = home.session.request(method, f"{home.web}/api/v1{path}", json=body, timeout=30,
                                 headers={"Authorization": f"Bearer {token}"})
    return given.status_code, given.json()


def runs(home, job):
    """The runs of a job, oldest first."""
    return home.cli("run", "list", "--job", job, "--limit", 500)["runs"][::-1]


def run_keys(home):
    """What the counting sensor has asked for, in order."""
    return [run["tags"]["dagster/run_key"] for run in runs(home, "counted")]


def instigator(home, kind, name):
    return next(one for one in home.cli(kind, "list")["instigators"] if one["name"] == name)


def events(home, run_id, kind):
    return [event for event in home.cli("run", "show", run_id)["events"] if event["kind"] == kind]


def steps(home, run):
    """The steps that a run has begun."""
    return {event["step_key"] for event in events(home, run["run_id"], "STEP_START")}


# Sensors and schedules


def test_a_sensor_goes_on_from_the_cursor_that_it_is_given(bench):
    assert bench.cli("sensor", "cursor", "set", "counting_sensor", 41)["cursor"] == "41"
    bench.cli("sensor", "start", "counting_sensor")
    wait_for(lambda: run_keys(bench), saying="the sensor asked for nothing")
    assert run_keys(bench)[0] == "n42"
    bench.cli("sensor", "stop", "counting_sensor")
    # Nothing of it is under way after a restart.
    bench.stop()
    bench.start()
    before = run_keys(bench)
    assert instigator(bench, "sensor", "counting_sensor")["cursor"] == before[-1].removeprefix("n")
    assert bench.cli("sensor", "cursor", "set", "counting_sensor")["cursor"] is None
    bench.cli("sensor", "start", "counting_sensor")
    wait_for(lambda: run_keys(bench) > before, saying="the sensor asked for nothing after the reset")
    assert run_keys(bench)[len(before)] == "n1"


def test_a_cursor_that_is_set_while_a_tick_is_under_way_is_not_lost(bench):
    assert bench.kill("code-server", signal.SIGSTOP) == 1
    bench.cli("sensor", "start", "counting_sensor")
    wait_for(lambda: bench.ticks("sensor", "counting_sensor"), saying="no tick began")
    assert bench.cli("sensor", "cursor", "set", "counting_sensor", 1000)["cursor"] == "1000"
    bench.kill("code-server", signal.SIGCONT)
    wait_for(lambda: "n1001" in run_keys(bench), 10, saying="the sensor did not go on from the cursor that was set")


def test_a_sensor_that_was_stopped_asks_for_nothing_more(hello):
    wait_for(lambda: [t for t in hello.ticks("sensor", "inbox_sensor") if t["status"] == "SKIPPED"], saying="no tick ended")
    (hello.home / "inbox").mkdir(exist_ok=True)
    (hello.home / "inbox/2026-01-07.txt").write_text("one two")
    hello.cli("sensor", "stop", "inbox_sensor")
    made = hello.cli("job", "launch", "count", "--partition", "2026-01-05", "--wait")
    assert [run["run_id"] for run in runs(hello, "count")] == [made["run_id"]]


def test_a_dry_run_leaves_no_tick_no_run_and_no_cursor(bench):
    dry = bench.cli("sensor", "tick", "counting_sensor", "--dry-run", "--cursor", 7)
    assert dry["run_requests"][0]["run_key"] == "n8" and dry["cursor"] == "8"
    assert bench.cli("sensor", "tick", "counting_sensor", "--dry-run")["cursor"] == "1"
    assert bench.cli("schedule", "tick", "each_minute", "--dry-run")["run_requests"][0]["job_name"] == "chain"
    for kind, name in (("sensor", "counting_sensor"), ("schedule", "each_minute")):
        assert bench.cli(kind, "ticks", name)["ticks"] == []
        assert instigator(bench, kind, name)["cursor"] is None
    assert bench.cli("run", "list")["runs"] == []


# Cancelling


def stopped(home):
    """The processes of runs that are stopped (state T of proc(5))."""
    state = lambda pid: pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]  # noqa: E731
    return [pid for pid in home.pids("execute-run") if state(pid) == "T"]


def with_a_stopped_run(home, settings=""):
    """Starts, and answers the id of a run that has stopped itself by SIGSTOP, after its last step."""
    (home.home / "catchment.yaml").write_text(settings)
    home.with_location("bench", "catchment-bench-location").start(CATCHMENT_FAILPOINTS="run.before_end=stop")
    run_id = home.cli("job", "launch", "one_op")["run_id"]
    wait_for(lambda: stopped(home), saying="the run did not stop itself")
    return run_id


def test_a_forced_cancel_ends_a_run_whose_process_is_stopped_for_good(bare_home):
    run_id = with_a_stopped_run(bare_home)
    assert bare_home.cli("run", "cancel", run_id)["status"] == "CANCELING"
    assert bare_home.cli("run", "cancel", run_id[:8], "--force")["status"] == "CANCELED"
    bare_home.kill("execute-run", signal.SIGCONT)
    wait_for(lambda: not bare_home.pids("execute-run"), saying="the process lives on")
    assert bare_home.cli("run", "show", run_id)["status"] == "CANCELED"
    assert len(events(bare_home, run_id, "PIPELINE_CANCELED")) == 1
    assert events(bare_home, run_id, "PIPELINE_SUCCESS") == []


def test_a_forced_cancel_kills_the_process_of_the_run(bare_home):
    run_id = with_a_stopped_run(bare_home)
    assert bare_home.cli("run", "cancel", run_id, "--force")["status"] == "CANCELED"
    wait_for(lambda: not bare_home.pids("execute-run"), 20, saying="the process of the cancelled run is still there")


def test_a_cancelled_run_that_does_not_let_go_is_killed_after_its_grace(bare_home):
    run_id = with_a_stopped_run(bare_home, "run_monitoring: {cancel_timeout_seconds: 1}\n")
    assert bare_home.cli("run", "cancel", run_id)["status"] == "CANCELING"
    assert bare_home.run_ended(run_id, 20)["status"] == "CANCELED"
    wait_for(lambda: not bare_home.pids("execute-run"), saying="the process of the cancelled run is still there")


# Running again, deleting


def test_a_failed_run_is_run_again_from_its_failure_in_part_or_whole(hello):
    in_the_way = hello.home / "storage/word_count"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("a file where a folder should be")
    done = hello.cli("job", "launch", "count", "--partition", "2026-01-05", "--wait", ok=None)
    failed = json.loads(done.stdout)
    assert done.returncode == 1 and failed["status"] == "FAILURE" and str(in_the_way) in failed["problem"]["place"]
    in_the_way.unlink()

    again = hello.cli("run", "reexecute", failed["run_id"][:8], "--from-failure", "--wait")
    assert again["status"] == "SUCCESS" and again["parent_run_id"] == failed["run_id"]
    assert again["partition_key"] == "2026-01-05" and steps(hello, again) == {"word_count"}
    part = hello.cli("run", "reexecute", failed["run_id"], "--steps", "words,words_not_empty", "--wait")
    assert part["status"] == "SUCCESS" and steps(hello, part) == {"words", "words_not_empty"}
    whole = hello.cli("run", "reexecute", part["run_id"], "--wait")
    assert whole["tags"]["dagster/root_run_id"] == failed["run_id"] and whole["parent_run_id"] == part["run_id"]
    code, problem = refusal(hello, "run", "reexecute", failed["run_id"], "--steps", "no_such_step")
    assert code == 2 and "no_such_step" in problem["what"]


def test_a_run_is_deleted_once_it_has_ended_and_what_it_made_stays(bench):
    made = bench.cli("asset", "materialize", "part", "--partition", "a", "--wait")
    bench.cli("pool", "set", "narrow", 0)
    waits = bench.cli("job", "launch", "chain")["run_id"]
    code, problem = refusal(bench, "run", "delete", waits)
    assert code == 1 and "QUEUED" in problem["what"]
    assert bench.cli("run", "cancel", waits)["status"] == "CANCELED"

    for run_id in (waits, made["run_id"]):
        bench.cli("run", "delete", run_id)
        for command in ("show", "logs", "cancel", "reexecute", "delete"):
            code, problem = refusal(bench, "run", command, run_id)
            assert code == 2 and run_id in problem["what"], command
    assert bench.cli("run", "list")["runs"] == []
    assert bench.cli("partition", "list", "part", "--asset", "part")["keys"][0] == {"key": "a", "status": "MATERIALIZED"}


def test_a_deleted_run_leaves_no_raw_output_behind(bench):
    run = bench.cli("job", "launch", "one_op", "--wait")
    output = bench.home / "logs/runs" / run["run_id"]
    assert output.is_dir()
    bench.cli("run", "delete", run["run_id"])
    wait_for(lambda: not output.exists(), 10, saying=f"{output} is still there, and no command reaches it any more")


# Partitions and backfills


def test_keys_of_dynamic_partitions_are_added_listed_and_taken_out(home):
    keys = lambda: [key["key"] for key in home.cli("partition", "list", "dataset_id")["keys"]]  # noqa: E731
    assert home.cli("partition", "add", "dataset_id", "parcels", "roads", "parcels")["changed"] == ["parcels", "roads"]
    assert home.cli("partition", "add", "dataset_id", "roads")["changed"] == []
    assert keys() == ["parcels", "roads"]
    listed = home.cli("partition", "list")["partitions"]
    assert [(one["name"], one["kind"], one["count"]) for one in listed] == [("dataset_id", "dynamic", 2)]
    assert home.cli("partition", "delete", "dataset_id", "parcels", "no_such_key")["changed"] == ["parcels"]
    for wrong in ("", "a...b", "a\nb"):
        code, problem = refusal(home, "partition", "add", "dataset_id", "fine", wrong)
        assert code == 2 and problem["cause"], problem
    assert keys() == ["roads"]
    code, problem = refusal(home, "job", "launch", "spatial_asset_job", "--partition", "parcels")
    assert code == 2 and "parcels" in problem["what"]


def partitions(home, status):
    return [run["partition_key"] for run in runs(home, "parts") if run["status"] == status]


def test_a_paused_backfill_asks_for_no_further_run_until_it_is_resumed(bare_home):
    (bare_home.home / "catchment.yaml").write_text("backfills: {runs_at_once: 2}\n")
    home = bare_home.with_location("bench", "catchment-bench-location").start()
    home.cli("pool", "set", "narrow", 0)
    backfill = home.cli("backfill", "create", "--job", "parts")["id"]
    wait_for(lambda: partitions(home, "QUEUED") == PARTS[:2], saying="the first runs were not asked for")
    assert home.cli("backfill", "pause", backfill)["status"] == "PAUSED"
    home.cli("pool", "set", "narrow")
    wait_for(lambda: home.cli("backfill", "show", backfill)["counts"]["done"] == 2, saying="its runs did not end well")
    # Another one goes its whole way: meanwhile the daemon has looked at all of them again and again.
    other = home.cli("backfill", "create", "part+", "--partitions", "a,b,c,d")["id"]
    wait_for(lambda: home.cli("backfill", "show", other)["ended_at"], saying="another backfill did not end")
    assert home.cli("backfill", "show", backfill)["status"] == "PAUSED" and len(runs(home, "parts")) == 2

    assert home.cli("backfill", "resume", backfill)["status"] == "REQUESTED"
    ended = wait_for(lambda: (found := home.cli("backfill", "show", backfill))["ended_at"] and found, 60,
                     saying="the backfill did not end after it was resumed")
    assert ended["status"] == "COMPLETED_SUCCESS" and partitions(home, "SUCCESS") == PARTS


@pytest.mark.parametrize("paused", [False, True], ids=["at-work", "paused"])
def test_a_cancelled_backfill_ends_its_runs_and_asks_for_no_other(bench, paused):
    bench.cli("pool", "set", "narrow", 0)
    backfill = bench.cli("backfill", "create", "--job", "parts")["id"]
    wait_for(lambda: len(runs(bench, "parts")) == len(PARTS), saying="its runs were not asked for")
    if paused:
        bench.cli("backfill", "pause", backfill)
    bench.cli("pool", "set", "narrow", 1)
    wait_for(lambda: len(partitions(bench, "QUEUED")) < len(PARTS), saying="none of its runs began")
    assert bench.cli("backfill", "cancel", backfill)["status"] == "CANCELING"
    ended = wait_for(lambda: (found := bench.cli("backfill", "show", backfill))["ended_at"] and found, saying="it did not end")
    assert ended["status"] == "CANCELED"
    well, early = partitions(bench, "SUCCESS"), partitions(bench, "CANCELED")
    assert early and sorted(well + early) == PARTS
    assert bench.cli("pool", "list")["pools"][0]["held"] == 0
    for command in ("cancel", "pause", "resume"):
        code, problem = refusal(bench, "backfill", command, backfill)
        assert code == 1 and "CANCELED" in problem["what"] and problem["place"] == backfill


# Pools


def test_a_pool_lets_so_many_steps_work_as_its_limit_says(bench):
    bench.cli("pool", "set", "narrow", 0)
    waiting = [bench.cli("job", "launch", "chain")["run_id"] for _ in range(2)]
    assert bench.cli("job", "launch", "one_op", "--wait")["status"] == "SUCCESS"
    assert {run["status"] for run in runs(bench, "chain")} == {"QUEUED"}
    assert bench.cli("pool", "set", "narrow", 1)["pools"] == [{"name": "narrow", "limit": 1, "held": 0, "waiting": 0}]
    assert [bench.run_ended(run_id)["status"] for run_id in waiting] == ["SUCCESS", "SUCCESS"]
    at = lambda kind: sorted(e["timestamp"] for run_id in waiting for e in events(bench, run_id, kind))  # noqa: E731
    begun, ended = at("STEP_START"), at("STEP_SUCCESS")
    assert len(begun) == 6 and all(before <= after for before, after in zip(ended, begun[1:]))

    bench.cli("pool", "set", "narrow", 0)
    waits = bench.cli("job", "launch", "chain")["run_id"]
    assert bench.cli("pool", "set", "narrow")["pools"] == []
    assert bench.run_ended(waits)["status"] == "SUCCESS"


# Alerts


class Receiver:
    """A web server that keeps what is posted to it."""

    def __init__(self, port):
        self.got = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_webhook_is_told_of_a_failed_run_once_it_answers_again(bare_home):
    port = free_port()
    hook = {"webhook": f"http://127.0.0.1:{port}/hook?key=hunter2", "headers": {"X-Key": "hunter3"}}
    rule = {"on": "run_failure", "channels": ["ops"], "job": "count"}
    (bare_home.home / "catchment.yaml").write_text(json.dumps({"alerts": {"channels": {"ops": hook}, "rules": [rule]}}))
    home = bare_home.with_location("hello", "catchment-hello").start()
    in_the_way = home.home / "storage/words"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("a file where a folder should be")
    failed = [home.run_ended(home.launch("count", partition_key="2026-01-05"))["run_id"]]

    def alerts():
        return home.cli("alert", "list")["alerts"]

    alert = wait_for(lambda: [alert for alert in alerts() if alert["attempts"]], saying="the alert was not tried")[0]
    assert alert["status"] == "PENDING" and "refused" in alert["last_error"]
    receiver = Receiver(port)
    wait_for(lambda: receiver.got, saying="the receiver was not told after it came back")
    headers, event = receiver.got[0]
    assert headers["content-type"].startswith("application/cloudevents+json") and headers["x-key"] == "hunter3"
    assert event["specversion"] == "1.0" and event["type"] == "org.catchment.run_failure" and event["source"] and event["id"]
    assert event["subject"] == event["data"]["run_id"] == failed[0] and event["data"]["status"] == "FAILURE"
    assert event["data"]["job_name"] == "count" and str(in_the_way) in event["data"]["problem"]["place"]

    failed.append(home.run_ended(home.launch("count", partition_key="2026-01-06"))["run_id"])
    in_the_way.unlink()
    assert home.run_ended(home.launch("count", partition_key="2026-01-07"))["status"] == "SUCCESS"
    wait_for(lambda: len(receiver.got) == 2, saying="the receiver was not told of the next run")
    home.stop()
    home.start()
    wait_for(lambda: home.cli("instance", "info")["leading"], saying="no daemon leads")
    wait_for(lambda: [alert["status"] for alert in alerts()] == ["DELIVERED"] * 2, saying="an alert is not noted as delivered")
    assert [event["subject"] for _, event in receiver.got] == failed
    assert "hunter" not in json.dumps(alerts()) + (home.home / "logs/daemon.log").read_text()


def test_every_fault_of_the_settings_is_told_before_anything_starts(bare_home):
    (bare_home.home / "catchment.yaml").write_text(
        "run_queue: {max_concurrent_runs: -2}\n"
        "alerts: {channels: {ops: {webhook: example.org}}, rules: [{on: run_failure, channels: [opps]}]}\n")
    code, problem = refusal(bare_home, "dev", "--web", "127.0.0.1:0", "--s3", "127.0.0.1:0")
    assert code == 2 and problem["place"] == str(bare_home.home / "catchment.yaml") and problem["remedy"]
    assert [fault["path"] for fault in problem["faults"]] == [
        "$.run_queue.max_concurrent_runs", "$.alerts.channels.ops.webhook", "$.alerts.rules[0].channels[0]"]


# Code locations


@pytest.fixture
def with_a_broken_one(bare_home):
    """Beside the example, a location whose definitions do not load."""
    broken = bare_home.home / "broken"
    broken.write_text("#!/bin/sh\necho no such asset: wrods >&2\nexit 2\n")
    broken.chmod(0o755)
    binaries = [{"binary": {"path": str(BIN / "catchment-hello"), "location_name": "hello"}},
                {"binary": {"path": str(broken), "location_name": "broken"}}]
    (bare_home.home / "workspace.yaml").write_text(json.dumps({"load_from": binaries}))
    return bare_home.start()


def test_a_broken_location_is_listed_with_what_is_wrong_and_what_to_do(with_a_broken_one):
    listed = {one["name"]: one for one in with_a_broken_one.cli("location", "list")["locations"]}
    assert listed["hello"]["here"] and listed["hello"]["problem"] is None and listed["hello"]["loaded_at"]
    assert not listed["broken"]["here"] and listed["broken"]["loaded_at"] is None
    problem = listed["broken"]["problem"]
    assert "wrods" in problem["cause"] and problem["remedy"] and pathlib.Path(problem["place"]).is_file()
    for_people = subprocess.run([BIN / "catchment", "location", "list"], env=with_a_broken_one.environment(),
                                capture_output=True, text=True)
    row = next(line for line in for_people.stdout.splitlines() if "broken" in line)
    assert for_people.returncode == 0 and "away" in row and "wrods" in row


def test_a_location_that_does_not_load_anew_says_so_at_once_and_harms_no_other(with_a_broken_one):
    began = time.monotonic()
    code, problem = refusal(with_a_broken_one, "location", "reload", "broken")
    assert code in (1, 3) and "wrods" in json.dumps(problem)
    assert with_a_broken_one.cli("location", "reload", "hello")["locations"][0]["here"]
    assert time.monotonic() < began + 10, "the reload waited for something that had happened long before"


def test_a_reload_that_fails_ends_with_an_exit_code_that_says_so(bare_home):
    """Its first failure: the definitions that are known stay."""
    binary = bare_home.home / "location"
    binary.symlink_to(BIN / "catchment-hello")
    (bare_home.home / "workspace.yaml").write_text(json.dumps({"load_from": [{"binary": {"path": str(binary)}}]}))
    home = bare_home.start()
    broken = home.home / "broken"
    broken.write_text("#!/bin/sh\necho no such asset: wrods >&2\nexit 2\n")
    broken.chmod(0o755)
    broken.rename(binary)
    done = home.cli("location", "reload", "location", ok=None)
    assert "wrods" in done.stdout + done.stderr
    assert [job["name"] for job in home.cli("job", "list")["jobs"]] == ["count"]
    assert done.returncode != 0, done.stdout


# Mistakes

# A command, and the same by the API: what they name is not there.
NOT_THERE = [
    (["job", "launch", "nosuch"], "POST", "/jobs/nosuch/launch", {}),
    (["job", "list", "--location", "nosuch"], "GET", "/jobs?location=nosuch", None),
    (["asset", "show", "nosuch"], "GET", "/assets/nosuch", None),
    (["sensor", "start", "nosuch"], "POST", "/instigators/sensor/nosuch/status", {"status": "RUNNING"}),
    (["sensor", "ticks", "nosuch"], "GET", "/instigators/sensor/nosuch/ticks", None),
    (["sensor", "tick", "nosuch"], "GET", "/instigators/sensor/nosuch/ticks", None),
    (["sensor", "tick", "nosuch", "--dry-run"], "POST", "/instigators/sensor/nosuch/dry-run", {}),
    (["sensor", "cursor", "set", "nosuch", "1"], "POST", "/instigators/sensor/nosuch/cursor", {"cursor": "1"}),
    (["schedule", "stop", "nosuch"], "POST", "/instigators/schedule/nosuch/status", {"status": "STOPPED"}),
    (["partition", "list", "nosuch"], "GET", "/partitions/nosuch", None),
    (["partition", "add", "nosuch", "a"], "POST", "/partitions/nosuch", {"keys": ["a"]}),
    (["partition", "delete", "nosuch", "a"], "DELETE", "/partitions/nosuch", {"keys": ["a"]}),
    (["backfill", "create", "--job", "nosuch"], "POST", "/backfills", {"job": "nosuch"}),
    (["backfill", "show", "nosuch"], "GET", "/backfills/nosuch", None),
    (["backfill", "pause", "nosuch"], "POST", "/backfills/nosuch/pause", {}),
    (["backfill", "resume", "nosuch"], "POST", "/backfills/nosuch/resume", {}),
    (["backfill", "cancel", "nosuch"], "POST", "/backfills/nosuch/cancel", {}),
    (["location", "reload", "nosuch"], "POST", "/locations/nosuch/reload", {}),
    (["run", "show", NO_RUN], "GET", f"/runs/{NO_RUN}", None),
    (["run", "logs", NO_RUN], "GET", f"/runs/{NO_RUN}/events", None),
    (["run", "cancel", NO_RUN], "POST", f"/runs/{NO_RUN}/cancel", {}),
    (["run", "cancel", NO_RUN, "--force"], "POST", f"/runs/{NO_RUN}/cancel", {"force": True}),
    (["run", "reexecute", NO_RUN], "POST", f"/runs/{NO_RUN}/reexecute", {}),
    (["run", "delete", NO_RUN], "DELETE", f"/runs/{NO_RUN}", None),
]


def test_what_is_not_there_is_named_with_what_to_do(bench):
    for command, method, path, body in NOT_THERE:
        name = "nosuch" if "nosuch" in command else NO_RUN
        status, by_api = answer(bench, method, path, body)
        code, by_cli = refusal(bench, *command)
        assert (code, status) == (2, 404), (command, by_cli, by_api)
        for problem in (by_cli, by_api):
            assert problem["code"] == "not_found" and name in problem["what"] and problem["remedy"], (command, problem)


# A command, the same by the API, and what the refusal must name.
WRONG = [
    (["job", "launch", "parts"], "POST", "/jobs/parts/launch", {}, "--partition"),
    (["job", "launch", "parts", "--partition", "z"], "POST", "/jobs/parts/launch", {"partition_key": "z"}, "`z`"),
    (["job", "launch", "chain", "--partition", "a"], "POST", "/jobs/chain/launch", {"partition_key": "a"}, "partition"),
    (["job", "launch", "chain", "--steps", "first,nosuch"], "POST", "/jobs/chain/launch", {"steps": ["nosuch"]}, "nosuch"),
    (["asset", "materialize", "nosuch"], "POST", "/materializations", {"selection": "nosuch"}, "nosuch"),
    (["asset", "list", "(("], "GET", "/assets?selection=((", None, "(("),
    (["backfill", "create", "nosuch"], "POST", "/backfills", {"selection": "nosuch"}, "nosuch"),
    (["backfill", "create", "--job", "chain"], "POST", "/backfills", {"job": "chain"}, "no partitions"),
    (["backfill", "create", "--job", "parts", "--partitions", "a,z"], "POST", "/backfills",
     {"job": "parts", "partitions": ["a", "z"]}, "`z`"),
    (["backfill", "create", "--job", "parts", "--from", "d", "--to", "b"], "POST", "/backfills",
     {"job": "parts", "from": "d", "to": "b"}, "`b` comes before `d`"),
    (["backfill", "list", "--status", "NOSUCH"], "GET", "/backfills?status=NOSUCH", None, "COMPLETED_SUCCESS"),
    (["run", "list", "--status", "NOSUCH"], "GET", "/runs?status=NOSUCH", None, "SUCCESS"),
    (["run", "show", "nosuch"], "GET", "/runs/nosuch", None, "nosuch"),
    (["partition", "add", "part", "z"], "POST", "/partitions/part", {"keys": ["z"]}, "static"),
    (["schedule", "cursor", "set", "each_minute", "1"], "POST", "/instigators/schedule/each_minute/cursor",
     {"cursor": "1"}, "schedule"),
    (["pool", "set", "gpu", "1001"], "POST", "/pools/gpu", {"limit": 1001}, "1000"),
]


def test_what_is_wrong_is_named_with_what_to_do_and_does_nothing(bench):
    for command, method, path, body, named in WRONG:
        status, by_api = answer(bench, method, path, body)
        code, by_cli = refusal(bench, *command)
        assert code == 2 and status in (400, 404, 422), (command, by_cli, by_api)
        for problem in (by_cli, by_api):
            assert named in json.dumps(problem) and problem["remedy"], (command, problem)
    assert bench.cli("run", "list")["runs"] == bench.cli("backfill", "list")["backfills"] == []
    assert bench.cli("pool", "list")["pools"] == []


def test_what_cannot_be_done_now_says_where_and_what_to_do(bench):
    bench.cli("pool", "set", "narrow", 0)
    waits = bench.cli("job", "launch", "chain")["run_id"]
    refusals = {"run delete": refusal(bench, "run", "delete", waits)}
    bench.cli("run", "cancel", waits)
    refusals["run cancel"] = refusal(bench, "run", "cancel", waits)
    refusals["run cancel --force"] = refusal(bench, "run", "cancel", waits, "--force")
    backfill = bench.cli("backfill", "create", "--job", "parts")["id"]
    bench.cli("backfill", "cancel", backfill)
    wait_for(lambda: bench.cli("backfill", "show", backfill)["ended_at"], saying="the backfill did not end")
    refusals["backfill pause"] = refusal(bench, "backfill", "pause", backfill)
    refusals["sensor tick"] = refusal(bench, "sensor", "tick", "counting_sensor")
    assert {code for code, _ in refusals.values()} == {1}
    assert {what: p for what, (_, p) in refusals.items() if not p.get("remedy") or not (p.get("place") or p.get("cause"))} == {}


MANIFEST = {"batch_id": "b", "uploader": "e2e", "intent": "ingest_vector", "metadata": {},
            "files": [{"path": "s3://landing-zone/b/a.gpkg", "type": "vector", "format": "GPKG"}]}
STEP = "$.ops.raw_manifest_json"


def step(**config):
    return {"ops": {"raw_manifest_json": {"config": config}}}


CONFIGS = {
    "no object": ([], "$"),
    "an unknown section": ({"opps": {}, **step(manifest=MANIFEST)}, "$.opps"),
    "an unknown step": ({"ops": {"nosuch": {}, **step(manifest=MANIFEST)["ops"]}}, "$.ops.nosuch"),
    "an unknown field of a step": ({"ops": {"raw_manifest_json": {"cnfig": {}}}}, f"{STEP}.cnfig"),
    "no config": ({}, f"{STEP}.config"),
    "a wrong type": (step(manifest="b"), f"{STEP}.config.manifest"),
    "a wrong type deep down": (step(manifest=MANIFEST | {"batch_id": 5}), f"{STEP}.config.manifest.batch_id"),
    "a wrong item of a list": (step(manifest=MANIFEST | {"files": [{**MANIFEST["files"][0], "type": "cube"}]}),
                               f"{STEP}.config.manifest.files[0].type"),
    "an unknown field of a step's config": (step(manifest=MANIFEST, manifst=1), f"{STEP}.config.manifst"),
}


@pytest.fixture
def with_a_dataset(home):
    home.cli("partition", "add", "dataset_id", "parcels")
    return home


def test_a_wrong_run_config_is_refused_with_the_path_of_each_wrong_field(with_a_dataset):
    home, file, wrong = with_a_dataset, with_a_dataset.home / "config.json", {}
    for what, (config, path) in CONFIGS.items():
        file.write_text(json.dumps(config))
        for command in (["job", "launch", "spatial_asset_job", "--partition", "parcels"],
                        ["backfill", "create", "--job", "spatial_asset_job", "--partitions", "parcels"]):
            done = home.cli(*command, "--config", file, ok=None)
            faults = json.loads(done.stderr)["problem"]["faults"] if done.returncode == 2 else []
            if path not in [fault["path"] for fault in faults]:
                wrong[what, command[0]] = done.returncode, faults
    assert wrong == {}


def test_a_run_config_that_is_no_json_is_told_with_its_file_and_line(bench):
    file = bench.home / "config.json"
    file.write_text('{"ops":\n  oops}')
    code, problem = refusal(bench, "job", "launch", "chain", "--config", file)
    assert code == 2 and problem["place"] == str(file) and "line 2" in problem["cause"] and problem["remedy"]
    code, problem = refusal(bench, "job", "launch", "chain", "--config", bench.home / "nosuch.json")
    assert code == 2 and problem["place"] == str(bench.home / "nosuch.json")


def test_a_reserved_tag_whose_value_means_nothing_is_refused(bench):
    tags = ["dagster/priority=high", "dagster/max_runtime=soon", "dagster/max_retries=many",
            "dagster/retry_strategy=SOME_STEPS", "dagster/retry_on_asset_or_op_failure=perhaps"]
    taken = [tag for tag in tags if bench.cli("job", "launch", "one_op", "--tag", tag, ok=None).returncode != 2]
    assert taken == []


def test_an_unknown_field_of_a_request_is_refused_and_changes_nothing(bench):
    pools = bench.cli("pool", "set", "gpu", 2)
    misspelt = [("/pools/gpu", {"limt": 5}), ("/jobs/chain/launch", {"config": {}}),
                ("/backfills", {"job": "parts", "partition": ["a"]})]
    answers = [answer(bench, "POST", path, body)[0] for path, body in misspelt]
    assert bench.cli("pool", "list") == pools, "a typing error has taken the limit away"
    assert all(status in (400, 422) for status in answers), answers


# A request, and the field of its body that is wrong.
WRONG_FIELDS = [
    ("/pools/gpu", {"limit": -1}, "limit"),
    ("/jobs/chain/launch", {"steps": "first"}, "steps"),
    ("/jobs/chain/launch", {"tags": {"team": 1}}, "tags.team"),
    ("/backfills", {"job": "parts", "partitions_per_run": -1}, "partitions_per_run"),
    ("/instigators/schedule/each_minute/dry-run", {"scheduled_for": "tomorrow"}, "scheduled_for"),
    ("/instigators/sensor/counting_sensor/status", {}, "status"),
]


def test_a_wrong_value_in_a_request_is_refused_by_the_name_of_its_field(bench):
    answers = [(field, *answer(bench, "POST", path, body)) for path, body, field in WRONG_FIELDS]
    assert all(status in (400, 422) for _, status, _ in answers), answers
    assert [(field, problem) for field, _, problem in answers if field not in json.dumps(problem)] == []


def test_a_name_is_taken_as_it_is_written(bench):
    bench.cli("pool", "set", "narrow", 2)
    for name in ("narrow?limit", "narrow#1", "a/b", "50%25"):
        bench.cli("pool", "set", name, 7, ok=None)
    limits = {pool["name"]: pool["limit"] for pool in bench.cli("pool", "list")["pools"]}
    assert limits.pop("narrow") == 2, "the limit of another pool was changed"
    assert set(limits) <= {"narrow?limit", "narrow#1", "a/b", "50%25"}
    assert bench.cli("partition", "list", "part?limit=1", ok=None).returncode == 2


def test_the_partitions_of_an_asset_that_is_not_there_are_not_listed_as_missing(bench):
    code, problem = refusal(bench, "partition", "list", "part", "--asset", "nosuch")
    assert code == 2 and "nosuch" in problem["what"]
    assert answer(bench, "GET", "/partitions/part?asset=nosuch")[0] in (400, 404)
