"""A whole installation: `catchment dev` in a scratch home on free ports, spoken to as its users do.

Used by the end-to-end tests and by the benchmarks.
"""
import json
import os
import pathlib
import signal
import subprocess
import time

import boto3
import botocore.config
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CATCHMENT_BIN", ROOT / "target/release"))
TOWN = ROOT / "examples/data"


def wait_for(what, seconds=30, every=0.02, saying="nothing in time"):
    """The first true answer of `what`; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except requests.RequestException:
            pass
        time.sleep(every)
    raise AssertionError(saying)


class Installation:
    """One home with its processes. `failpoints` maps a process (or `dev` for all) to CATCHMENT_FAILPOINTS."""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.dev = None
        self.dev_arguments = []
        self.log = None
        self.session = requests.Session()

    def environment(self, **more):
        others = ("CATCHMENT_", "MINIO_", "MONGO_", "POSTGRES_", "DAGSTER_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        return kept | {"CATCHMENT_HOME": str(self.home)} | more

    def start(self, **more):
        """Starts `catchment dev` and waits until it is ready."""
        self.log = open(self.home / "dev.out", "ab+")
        begin = self.log.seek(0, os.SEEK_END)
        ports = ["--web", "127.0.0.1:0", "--s3", "127.0.0.1:0", *self.dev_arguments]
        self.dev = subprocess.Popen([BIN / "catchment", "--json", "dev", *ports], env=self.environment(**more),
                                    stdout=self.log, stderr=self.log, cwd=self.home)

        def ready():
            if self.dev.poll() is not None:
                raise AssertionError(f"catchment dev ended: {self.output(begin)}")
            for line in self.output(begin).splitlines():
                if line.startswith("{") and json.loads(line).get("ready"):
                    return json.loads(line)

        self.ready = wait_for(ready)
        self.web, self.s3_url = self.ready["endpoints"]["web"], self.ready["endpoints"]["s3"]
        return self

    def output(self, begin=0):
        self.log.flush()
        return (self.home / "dev.out").read_bytes()[begin:].decode(errors="replace")

    def stop(self):
        """Ctrl-C."""
        if self.dev and self.dev.poll() is None:
            self.dev.send_signal(signal.SIGINT)
            self.dev.wait(30)

    def pids(self, name):
        """The pids of the processes of this home whose command line holds `name`."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                home = (entry / "environ").read_bytes()
            except OSError:
                continue
            if name in line and f"CATCHMENT_HOME={self.home}".encode() in home:
                found.append(int(entry.name))
        return found

    def kill(self, name, how=signal.SIGKILL):
        """Sends a signal to each process of this home whose command line holds `name`; says how many."""
        pids = self.pids(name)
        for pid in pids:
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        return len(pids)

    def kill_all(self):
        """`kill -9` of everything at once, as a power cut would."""
        for name in ("catchment dev", "catchment --json dev", "catchment", "catchment-etl", "catchment-hello", "catchment-gdal"):
            self.kill(name)
        if self.dev:
            self.dev.wait(30)

    def cli(self, *arguments, ok=True, **more):
        """Runs a command with --json; answers its JSON, or the finished process where `ok` is None."""
        done = subprocess.run([BIN / "catchment", "--json", *map(str, arguments)], env=self.environment(**more),
                              capture_output=True, text=True, timeout=120, cwd=self.home)
        if ok is None:
            return done
        assert (done.returncode == 0) == ok, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout) if ok else done

    def key(self):
        return json.loads((self.home / "credentials.json").read_text())

    def s3(self, access_key=None, secret_key=None):
        """boto3 with the admin key, or another."""
        key = self.key()
        return boto3.client("s3", endpoint_url=self.s3_url, region_name="us-east-1",
                            aws_access_key_id=access_key or key["access_key"],
                            aws_secret_access_key=secret_key or key["secret_key"],
                            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))

    def ask(self, method, path, **more):
        """A request to the API; answers its JSON."""
        token = (self.home / "api-token").read_text().strip()
        answer = self.session.request(method, self.web + path, timeout=30, headers={"Authorization": f"Bearer {token}"}, **more)
        answer.raise_for_status()
        return answer.json()

    def get(self, path, **query):
        """GET of the API; answers its JSON."""
        return self.ask("GET", path, params=query)

    def post(self, path, **body):
        """POST to the API; answers its JSON."""
        return self.ask("POST", path, json=body)

    def attempt(self, what, seconds=60):
        """Asks until there is an answer, as a client does while the web server is away."""
        return wait_for(lambda: [what()], seconds, every=0.05, saying="the API gave no answer")[0]

    def with_location(self, name, program, **environment):
        """Only this code location runs, with these variables."""
        binary = {"path": str(BIN / program), "location_name": name, "environment": environment}
        (self.home / "workspace.yaml").write_text(json.dumps({"load_from": [{"binary": binary}]}))
        return self

    def healthy(self):
        """Whether every part of the installation is well."""
        return self.get("/api/v1/health")["healthy"]

    def launch(self, job, **more):
        """Puts a run of a job into the queue; answers its id."""
        return self.post(f"/api/v1/jobs/{job}/launch", **more)["run_id"]

    def run_ended(self, run_id, seconds=120):
        """Waits until the run has ended; answers it."""
        def final():
            if self.get(f"/api/v1/runs/{run_id}/events", limit=1, after=2**62, wait_ms=10_000)["ended"]:
                return self.get(f"/api/v1/runs/{run_id}")
        return wait_for(final, seconds, saying=f"the run {run_id} did not end")

    def set_running(self, kind, name, running):
        """Starts or stops a sensor or schedule."""
        self.post(f"/api/v1/instigators/{kind}/{name}/status", status="RUNNING" if running else "STOPPED")

    def ticks(self, kind, name):
        """The newest ticks of a sensor or schedule."""
        return self.get(f"/api/v1/instigators/{kind}/{name}/ticks")["ticks"]

    def put_batch(self, batch_id, file, dataset=None, name=None, intent="ingest_vector", fmt=None, body=None, tags=None,
                  **entry):
        """Uploads a file and its manifest with boto3, as an uploader does; answers the manifest."""
        s3 = self.s3()
        name = name or pathlib.Path(file).name
        if body is None:
            body = pathlib.Path(file).read_bytes()
        s3.put_object(Bucket="landing-zone", Key=f"{batch_id}/{name}", Body=body)
        formats = {".geojson": "GeoJSON", ".zip": "SHP", ".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".shp": "SHP"}
        manifest = {
            "batch_id": batch_id, "uploader": "e2e", "intent": intent,
            "files": [{"path": f"s3://landing-zone/{batch_id}/{name}", "type": "vector",
                       "format": fmt or formats[pathlib.Path(name).suffix], **entry}],
            "metadata": {"tags": {"dataset_id": dataset or batch_id, **(tags or {})}},
        }
        s3.put_object(Bucket="landing-zone", Key=f"manifests/{batch_id}.json", Body=json.dumps(manifest).encode())
        return manifest

    def batch(self, batch_id):
        """The ledger's manifest record, or None."""
        token = (self.home / "api-token").read_text().strip()
        answer = requests.get(f"{self.web}/api/v1/manifests/{batch_id}", timeout=30,
                              headers={"Authorization": f"Bearer {token}"})
        return answer.json() if answer.status_code == 200 else None

    def ended(self, batch_id, seconds=60):
        """Waits until the batch has ended; answers its record."""
        def final():
            found = self.batch(batch_id)
            return found if found and found["manifest"]["status"] in ("success", "failure", "canceled") else None
        return wait_for(final, seconds, saying=f"the batch {batch_id} did not end")

    def versions(self, dataset):
        """The versions of a dataset, oldest first; none where it is not there."""
        done = self.cli("dataset", "versions", dataset, ok=None)
        if done.returncode:
            return []
        return sorted(json.loads(done.stdout)["versions"], key=lambda v: v["version"])
