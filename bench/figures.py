#!/usr/bin/env python3
"""Figures of a whole installation on this machine: medians of ten, one JSON line each.

    figures.py [--runs 10]

Needs what tests/e2e/requirements.txt names; CATCHMENT_BIN names the folder of the release binaries. Measured from outside,
as a user would: `dev_ready` from the start of `catchment dev` to its ready line; `put_to_started` from the moment that
the manifest's put is begun to the run's STARTED; `put_to_lake` the same for a batch of ten features, to the commit
in the ledger; `launch_to_step` from the decision to launch (before the process is started) to the run's first step; `idle_pss`
the proportional set size of all processes together after they have been left alone for ten seconds.
"""
import argparse
import datetime
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/e2e"))
from installation import Installation, wait_for  # noqa: E402


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def ten_features():
    ring = [[0, 0], [0.001, 0], [0.001, 0.001], [0, 0.001], [0, 0]]
    features = [{"type": "Feature", "properties": {"id": i},
                 "geometry": {"type": "Polygon", "coordinates": [[[7.4 + i / 100 + x, 46.9 + y] for x, y in ring]]}}
                for i in range(10)]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def report(name, values, unit, aim):
    values = sorted(values)
    print(json.dumps({"figure": name, "unit": unit, "median": round(statistics.median(values), 4), "min": round(values[0], 4),
                      "max": round(values[-1], 4), "runs": len(values), "aim": aim}), flush=True)


def pss_mb(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1000


def started(installation, where):
    home = pathlib.Path(where)
    home.mkdir()
    return installation(home)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--runs", type=int, default=10)
    a = p.parse_args()
    base = pathlib.Path(tempfile.mkdtemp(prefix="cm-bench-"))
    try:
        ready = []
        for i in range(a.runs):
            home = started(Installation, base / f"r{i}")
            began = time.monotonic()
            home.start()
            ready.append(time.monotonic() - began)
            home.stop()
        report("dev_ready", ready, "s", 1.0)

        home = started(Installation, base / "home").start()
        time.sleep(10)
        report("idle_pss", [pss_mb(home.pids("catchment"))], "MB", 150)
        s3, started_s, lake_s, step_s = home.s3(), [], [], []
        body = ten_features()
        for i in range(a.runs + 1):
            batch = f"bench-{i}"
            manifest = {"batch_id": batch, "uploader": "bench", "intent": "ingest_vector",
                        "files": [{"path": f"s3://landing-zone/{batch}/a.geojson", "type": "vector", "format": "GeoJSON"}],
                        "metadata": {"tags": {"dataset_id": "bench"}}}
            s3.put_object(Bucket="landing-zone", Key=f"{batch}/a.geojson", Body=body)
            began = time.time()
            s3.put_object(Bucket="landing-zone", Key=f"manifests/{batch}.json", Body=json.dumps(manifest).encode())
            record = home.ended(batch)
            if record["manifest"]["status"] != "success":
                sys.exit(f"{batch}: {record}")
            if i == 0:
                continue
            run = record["run"]
            events = home.get(f"/api/v1/runs/{run['run_id']}/events")["events"]
            at = {kind: seconds(next(e["timestamp"] for e in events if e["kind"] == kind))
                  for kind in ("PIPELINE_START", "STEP_START")}
            started_s.append(at["PIPELINE_START"] - began)
            version = next(v for v in home.versions("bench") if v["provenance"]["batch_id"] == batch)
            lake_s.append(seconds(version["created_at"]) - began)
            step_s.append(at["STEP_START"] - seconds(run["launched_at"]))
            wait_for(lambda: not home.pids("execute-run"))
        report("put_to_started", started_s, "s", 0.1)
        report("put_to_lake", lake_s, "s", 0.6)
        report("launch_to_step", step_s, "s", 0.04)
        home.stop()
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
