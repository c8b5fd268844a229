#!/usr/bin/env python3
"""Checks that GeoParquet files satisfy the validators and readers of other people.

    check_geoparquet.py [--rows N] [--crs EPSG:4326] FILE...

For each file: `geoparquet-validator check`, `gpio check all`, GeoPandas and DuckDB. They must find no fault, and
agree with each other on rows, bounds and geometry types, and with the file's own metadata. Prints one line a
check; exit code 1 if any failed. Nothing here needs the network.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys, sysconfig

import duckdb, duckdb_extension_spatial, geopandas, pyarrow.parquet

BIN = pathlib.Path(sysconfig.get_path("scripts"))


def duckdb_home():
    """A home folder in which DuckDB finds its spatial extension as if it had been downloaded."""
    platform = duckdb.execute("PRAGMA platform").fetchone()[0]
    name = "spatial.duckdb_extension"
    [source] = pathlib.Path(duckdb_extension_spatial.__file__).parent.glob(f"extensions/*/{name}")
    home = pathlib.Path(sys.prefix) / "home"
    target = home / ".duckdb" / "extensions" / f"v{duckdb.__version__}" / platform / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return home, source


def program(home, *command):
    """Runs a program of the virtual environment; returns None, or what it said where it failed."""
    env = os.environ | {"HOME": str(home), "NO_COLOR": "1"}
    done = subprocess.run([BIN / command[0], *command[1:]], env=env, capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip()
    bad = [line for line in said.splitlines() if any(mark in line for mark in ("❌", "✗", "⚠", "FAIL"))]
    if done.returncode != 0 or bad:
        return said if done.returncode != 0 else "\n".join(bad)
    return None


def geo_of(path):
    return json.loads(pyarrow.parquet.read_metadata(path).metadata[b"geo"])


def with_geopandas(path, rows, crs):
    frame, column = geopandas.read_parquet(path), geo_of(path)["columns"]["geom"]
    geometry = frame.geometry
    if rows is not None and len(frame) != rows:
        return f"{len(frame)} rows, not {rows}"
    if crs and geometry.crs != crs:
        return f"its CRS is {geometry.crs}, not {crs}"
    if not geometry.dropna().is_valid.all():
        return f"{(~geometry.dropna().is_valid).sum()} geometries are not valid"
    box = column.get("bbox")
    if box and len(box) == 6:
        box = [box[0], box[1], box[3], box[4]]
    if box and list(geometry.total_bounds) != box:
        return f"its bounds are {list(geometry.total_bounds)}, its metadata says {box}"
    three = {True: " Z", False: ""}
    types = {f"{g.geom_type}{three[g.has_z]}" for g in geometry.dropna()}
    if not types <= set(column["geometry_types"]):
        return f"its types are {types}, its metadata says {column['geometry_types']}"
    if box:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        quarter = geopandas.read_parquet(path, bbox=(box[0], box[1], x, y))
        expected = set(frame.index[geometry.bounds.minx.le(x) & geometry.bounds.miny.le(y)])
        if len(quarter) < len(expected):
            return f"a filter by the covering finds {len(quarter)} rows, there are {len(expected)}"
    return None


def with_duckdb(path, rows, extension):
    db = duckdb.connect()
    db.execute(f"LOAD '{extension}'")
    count, valid = db.execute(
        f"SELECT count(*), count(*) FILTER (geom IS NULL OR ST_IsValid(geom)) FROM read_parquet('{path}')"
    ).fetchone()
    if count != (len(geopandas.read_parquet(path)) if rows is None else rows):
        return f"{count} rows"
    return None if count == valid else f"{count - valid} geometries are not valid"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--crs", default="EPSG:4326")
    arguments = parser.parse_args()
    home, extension = duckdb_home()
    failed = 0
    for path in arguments.files:
        checks = {
            "geoparquet-validator": lambda: program(home, "geoparquet-validator", "check", path),
            "gpio check all": lambda: program(home, "gpio", "check", "all", path),
            "GeoPandas": lambda: with_geopandas(path, arguments.rows, arguments.crs),
            "DuckDB": lambda: with_duckdb(path, arguments.rows, extension),
        }
        for name, check in checks.items():
            fault = check()
            failed += fault is not None
            print(f"{'ok  ' if fault is None else 'FAIL'} {name}: {path}" + (f"\n{fault}" if fault else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
