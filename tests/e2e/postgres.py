"""A PostgreSQL server of Debian's for tests and benchmarks: in a scratch folder, on a free port, as user postgres."""
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def binaries():
    """The folder of the newest server that is installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise AssertionError("no PostgreSQL server is installed (Debian: postgresql)")
    return found[-1].parent


class Postgres:
    """A server that is stopped and removed by `stop`. Writes are synced as in real life unless `fast`."""

    def __init__(self, fast=False):
        self.port = free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cm-pg-"))
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self.data = self.folder / "data"
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8")
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder,
                   "max_connections": 300} | ({"fsync": "off"} if fast else {})
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as config:
            config.writelines(f"{name} = '{value}'\n" for name, value in options.items())
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.folder / "log", "start")

    def _run(self, program, *arguments):
        # PostgreSQL does not run as root: then its own user runs it.
        who = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([binaries() / program, *arguments], cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, **who)
        assert done.returncode == 0, f"{program}: {done.stderr}"

    def restart(self):
        """Breaks every connection off and comes back through the recovery of a crash."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "-l", self.folder / "log", "restart")

    def stop(self):
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self, name):
        """Makes a database; answers the variables by which a process finds it."""
        self._psql("postgres", f"CREATE DATABASE {name} TEMPLATE template0")
        return {"DAGSTER_POSTGRES_HOST": "127.0.0.1", "DAGSTER_POSTGRES_PORT": str(self.port),
                "DAGSTER_POSTGRES_USER": "postgres", "DAGSTER_POSTGRES_PASSWORD": "none",
                "DAGSTER_POSTGRES_DB": name, "DAGSTER_POSTGRES_SSLMODE": "disable"}

    def rows(self, database, query):
        """The rows that a query finds, each a list of texts; NULL is an empty one."""
        return [line.split("\x1f") for line in self._psql(database, query).splitlines()]

    def _psql(self, database, statement):
        done = subprocess.run(
            [binaries() / "psql", "-X", "-q", "-t", "-A", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
             str(self.port), "-U", "postgres", "-d", database, "-c", statement],
            capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
