#!/usr/bin/env python3
"""The orchestrator beside PyPI's Dagster on this machine, in one run, with the same questions. Prints one table.

    compare.py [--runs 20] [--batch 50] [--at-once 10] [--postgres] [--only ours|dagster] [--peer SCRIPT]

Each is a whole installation with a code server, a web server, a daemon, a queue and a process for each run; nothing is kept
between the two. Ours is `catchment dev` with examples/bench, and is spoken to as a user would: runs are launched through
the API, and its times are those that the runs themselves say. The peer's script (default: the one beside this repository, in
../shared/bench/peers) says what it asks of Dagster. With --postgres, the state of each is in a database of its own on a
PostgreSQL server that is started for it.
"""
import argparse
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from installation import Installation, wait_for  # noqa: E402
from postgres import Postgres  # noqa: E402

PEER = ROOT / "../shared/bench/peers/dagster_orchestrator.py"
IDLE_AFTER = 20
# What is measured: its name in the peer's answer, its name for people, unit, aim.
FIGURES = [
    ("all_ready_s", "everything ready", "s", 0.4),
    ("idle_pss_mb", "memory idle, all processes (PSS)", "MB", 60),
    ("launch_to_started_s", "one-op job, launch to STARTED", "s", 0.05),
    ("launch_to_success_s", "one-op job, launch to SUCCESS", "s", 0.1),
    ("two_hundred_ops_s", "one job of 200 ops", "s", 1),
    ("batch_all_done_s", "{batch} one-op runs at once, {at_once} at a time", "s", 2),
    ("sensor_to_run_created_s", "sensor: file there to run created", "s", 0.05),
]


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def pss_mb(pids):
    lines = (line for pid in pids for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def ours(a, database):
    """The figures of Catchment."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cm-bench-"))
    inbox = folder / "inbox"
    inbox.mkdir()
    (folder / "catchment.yaml").write_text(f"run_queue:\n  max_concurrent_runs: {a.at_once}\n")
    home = Installation(folder).with_location("bench", "catchment-bench-location", BENCH_INBOX=str(inbox))
    result = {}
    try:
        began = time.monotonic()
        home.start(**database)
        wait_for(home.healthy, every=0.005)
        result["all_ready_s"] = time.monotonic() - began
        time.sleep(IDLE_AFTER)
        result["idle_pss_mb"] = pss_mb(home.pids("catchment"))

        def finished(run):
            view = home.run_ended(run)
            if view["status"] != "SUCCESS":
                sys.exit(f"run {run}: {view['status']} {view['problem']}")
            return view

        def timed(job):
            began = time.time()
            view = finished(home.launch(job))
            return seconds(view["started_at"]) - began, seconds(view["ended_at"]) - began

        one = [timed("one_op") for _ in range(a.runs)]
        result["launch_to_started_s"] = statistics.median(o[0] for o in one)
        result["launch_to_success_s"] = statistics.median(o[1] for o in one)
        result["two_hundred_ops_s"] = timed("two_hundred_ops")[1]
        began = time.time()
        runs = [home.launch("one_op") for _ in range(a.batch)]
        result["batch_all_done_s"] = max(seconds(finished(run)["ended_at"]) for run in runs) - began
        home.set_running("sensor", "folder_sensor", True)
        wait_for(lambda: home.ticks("sensor", "folder_sensor"))
        waits = []
        for i in range(4):
            # Not in step with the sensor's interval, as the peer's files are not.
            time.sleep(7)
            began = time.time()
            (inbox / f"f{i}").write_text("")
            created = wait_for(lambda: [r["created_at"] for r in home.get(
                "/api/v1/runs", tag=f"dagster/run_key=f{i}")["runs"]], 60)
            waits.append(seconds(created[0]) - began)
        result["sensor_to_run_created_s"] = statistics.median(waits)
        home.stop()
        return result
    finally:
        home.kill_all()
        shutil.rmtree(folder, ignore_errors=True)


def peer(a, database):
    """The figures of Dagster, by the peer's own script."""
    script = a.peer.resolve()
    if not script.is_file():
        sys.exit(f"{script} is not there: name the peer's script with --peer")
    done = subprocess.run([sys.executable, script, "--runs", str(a.runs), "--batch", str(a.batch), "--at-once",
                           str(a.at_once)], env=os.environ | database, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def table(a, results):
    """The figures of each side by side, and how many times ours is better."""
    head = ["", *results, *(["ratio"] if len(results) == 2 else []), "aim"]
    rows = [head, ["---"] * len(head)]
    for key, name, unit, aim in FIGURES:
        values = [result[key] for result in results.values()]
        ratio = [f"{values[0] / values[1]:.0f}"] if len(values) == 2 else []
        aimed = f"{aim} {unit}" + ("" if results["Catchment"][key] <= aim else " (missed)") if "Catchment" in results else ""
        rows.append([name.format(batch=a.batch, at_once=a.at_once), *(f"{v:.3g} {unit}" for v in values), *ratio, aimed])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--runs", type=int, default=20, help="one-op runs, one after the other (median)")
    p.add_argument("--batch", type=int, default=50, help="one-op runs queued together")
    p.add_argument("--at-once", type=int, default=10, help="runs that may work at once")
    p.add_argument("--postgres", action="store_true", help="state in PostgreSQL (default: SQLite)")
    p.add_argument("--only", choices=["ours", "dagster"])
    p.add_argument("--peer", type=pathlib.Path, default=PEER, help="the peer's script")
    a = p.parse_args()
    server = Postgres() if a.postgres else None
    results = {}
    try:
        for name, run in {"Dagster": peer, "Catchment": ours}.items():
            if a.only != {"Dagster": "ours", "Catchment": "dagster"}[name]:
                results[name] = run(a, server.database(name.lower()) if server else {})
    finally:
        if server:
            server.stop()
    print(table(a, results))


if __name__ == "__main__":
    main()
