#!/usr/bin/env python3
"""A file of many polygons through the whole way, beside the chains that users of other tools write, in one run.

    polygons.py [N] [--runs 3] [--bench FOLDER] [--intent generalize_vector]

Needs what bench/requirements.txt names; CATCHMENT_BIN names the folder of the release binaries, --bench (default
../shared/bench beside the checkout) the folder with gen_vectors.py and peers/. Ours is `catchment ingest`: upload, manifest,
queue, a process, sandboxed reading, repair, simplification, Hilbert sort, GeoParquet with covering, checks, hashing, upload
and commit. The peers read a local file and write a local file. Prints JSON lines: seconds and peak memory (of ours: the
run's process and its worker, from the kernel's high-water mark), and how many times longer each peer takes.
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
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from installation import BIN, Installation  # noqa: E402


class Peaks(threading.Thread):
    """Watches the high-water marks of a home's run and worker until it is told to stop."""

    def __init__(self, home):
        super().__init__(daemon=True)
        self.home, self.peak, self.over = home, {}, threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            for name in ("execute-run", "catchment-gdal read-vector"):
                for pid in self.home.pids(name) if name == "execute-run" else workers():
                    try:
                        status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    except OSError:
                        continue
                    for line in status.splitlines():
                        if line.startswith("VmHWM:"):
                            mb = int(line.split()[1]) / 1000
                            self.peak[name] = max(self.peak.get(name, 0), mb)


def workers():
    """The workers' environment is empty: they are known by their command line alone."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"catchment-gdal\0read-vector" in (entry / "cmdline").read_bytes():
                    yield int(entry.name)
            except OSError:
                continue


def peer(command):
    """Wall seconds and peak memory of one run of a peer, and what it printed last."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    out = child.stdout.read()
    _, status, use = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{command}: {out[-2000:]}")
    return time.monotonic() - began, use.ru_maxrss / 1000, out.strip().splitlines()[-1]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("n", type=int, nargs="?", default=500_000)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--bench", type=pathlib.Path, default=ROOT / "../shared/bench")
    p.add_argument("--intent", default="generalize_vector")
    a = p.parse_args()
    base = pathlib.Path(tempfile.mkdtemp(prefix="cm-poly-"))
    home = Installation(base / "home")
    try:
        source = base / "buildings.geojson"
        subprocess.run([sys.executable, a.bench / "gen_vectors.py", str(a.n), source], check=True)
        print(json.dumps({"input": f"{a.n} polygons, GeoJSON", "mb": round(source.stat().st_size / 1e6), "bin": str(BIN)}))
        (base / "home").mkdir()
        home.start()
        ours, phases, rows, peaks = [], [], {}, {}
        theirs = {"geopandas": [], "duckdb --hilbert": []}
        for i in range(a.runs):
            watch = Peaks(home)
            watch.start()
            began = time.monotonic()
            answer = home.cli("ingest", source, "--dataset", "buildings", "--intent", a.intent)
            ours.append(time.monotonic() - began)
            watch.over.set()
            watch.join()
            peaks = {k: max(peaks.get(k, 0), v) for k, v in (peaks | watch.peak).items()}
            rows["ours"] = answer["batches"][0].get("rows")
            run = home.get("/api/v1/runs")["runs"][0]
            times = [run["started_at"], run["ended_at"]]
            start, end = (datetime.datetime.fromisoformat(t.replace("Z", "+00:00")) for t in times)
            phases.append((end - start).total_seconds())
            for name, script, more in (("geopandas", "geopandas_chain.py", []), ("duckdb --hilbert", "duckdb_chain.py", ["--hilbert"])):
                seconds, mb, said = peer([sys.executable, str(a.bench / "peers" / script), str(source), str(base / "out.parquet"), *more])
                theirs[name].append((seconds, mb))
                rows[name] = said
        home.stop()
        median = statistics.median(ours)
        print(json.dumps({"name": "catchment ingest", "wall_s": round(median, 2), "run_s": round(statistics.median(phases), 2),
                          "peak_mb": {k: round(v) for k, v in peaks.items()}, "rows": rows["ours"], "runs": a.runs}))
        for name, runs in theirs.items():
            wall = statistics.median(r[0] for r in runs)
            print(json.dumps({"name": name, "wall_s": round(wall, 2), "peak_mb": round(max(r[1] for r in runs)),
                              "rows": rows[name], "times_ours": round(wall / median, 2),
                              "times_our_run": round(wall / statistics.median(phases), 2)}))
    finally:
        home.kill_all()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
