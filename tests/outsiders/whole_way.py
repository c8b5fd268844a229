#!/usr/bin/env python3
"""The lake as outsiders see it: counts and coordinates against the sources, and what the validators say.

Brings the sample town and, where CATCHMENT_TEST_DATA is set, real data (also as GeoPackage and FlatGeobuf) into the
lake of a scratch installation, downloads each version, and compares it with its source as `ogr2ogr` gives it. Then hands
all files to ./run, which asks geoparquet-validator, gpio, GeoPandas and DuckDB.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import geopandas
import numpy
import shapely

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from installation import TOWN, Installation  # noqa: E402

# The greatest distance from ogr2ogr's coordinates, in degrees, where both use the same operation.
TOLERANCE = 1e-8


def sources(scratch):
    """(dataset, file, options of `ingest`, path and layer for ogr2ogr, unique attribute)."""
    yield "parcels", TOWN / "parcels.zip", [], (f"/vsizip/{TOWN}/parcels.zip", None)
    yield "buildings", TOWN / "buildings.geojson", [], (TOWN / "buildings.geojson", None)
    yield "roads", TOWN / "network.gpkg", ["--layer", "roads"], (TOWN / "network.gpkg", "roads")
    yield "addresses", TOWN / "network.gpkg", ["--layer", "addresses"], (TOWN / "network.gpkg", "addresses")
    yield "hydrants", TOWN / "hydrants.fgb", [], (TOWN / "hydrants.fgb", None)
    data = os.environ.get("CATCHMENT_TEST_DATA")
    if not data:
        return
    data = pathlib.Path(data)
    earth = scratch / "natural_earth.zip"
    with zipfile.ZipFile(earth, "w", zipfile.ZIP_DEFLATED) as out:
        for part in sorted((data / "natural_earth").iterdir()):
            out.write(part, part.name)
    yield "natural_earth", earth, [], (data / "natural_earth/naturalearth_lowres.shp", None)
    nybb = f"/vsizip/{data}/nybb/nybb_16a.zip/nybb.shp"
    yield "nybb", data / "nybb/nybb_16a.zip", [], (nybb, None)
    for name, source in (("natural_earth", data / "natural_earth/naturalearth_lowres.shp"), ("nybb", nybb)):
        for ending, driver in (("gpkg", "GPKG"), ("fgb", "FlatGeobuf")):
            made = scratch / f"{name}.{ending}"
            subprocess.run(["ogr2ogr", "-f", driver, "-nlt", "PROMOTE_TO_MULTI", made, source], check=True)
            yield f"{name}_{ending}", made, [], (made, None)


def expected(path, layer, scratch):
    """The source in EPSG:4326 as ogr2ogr gives it."""
    out = scratch / "expected.gpkg"
    out.unlink(missing_ok=True)
    command = ["ogr2ogr", "-f", "GPKG", "-t_srs", "EPSG:4326", out, path, *([layer] if layer else [])]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return geopandas.read_file(out)


def word(value):
    """A value as a text that is the same whatever type a reader gives it."""
    if value is None or value != value:
        return ""
    return f"{value:.6f}" if isinstance(value, (int, float, numpy.number)) else str(value)


def keys(frame, names):
    """One text a row of these attributes, by which rows of both sides are matched."""
    return ["|".join(word(value) for value in row) for row in frame[names].itertuples(index=False)]


def compare(ours, theirs):
    """The greatest distance between vertices of geometries that both sides left as they were, and how many those are."""
    both = sorted(set(ours.columns) & set(theirs.columns) - {"geometry", "geom", "bbox"})
    names = [c for c in both if "datetime" not in f"{ours[c].dtype} {theirs[c].dtype}"]
    ours, theirs = (f.assign(_k=keys(f, names)) for f in (ours, theirs))
    ours, theirs = (f.drop_duplicates("_k", keep=False).set_index("_k").geometry for f in (ours, theirs))
    worst, same = 0.0, 0
    for key in ours.index.intersection(theirs.index):
        a, b = ours[key], theirs[key]
        if a is None or b is None:
            continue
        a, b = (numpy.sort(shapely.get_coordinates(g), axis=0) for g in (a, b))
        if a.shape == b.shape and len(a):
            same += 1
            worst = max(worst, float(numpy.abs(a - b).max()))
    return worst, same


def main():
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="cm-out-"))
    home = Installation(scratch / "home")
    failed = []
    try:
        (scratch / "home").mkdir()
        (scratch / "lake").mkdir()
        home.start()
        files = []
        for dataset, file, options, (path, layer) in sources(scratch):
            home.cli("ingest", file, "--dataset", dataset, *options)
            out = scratch / "lake" / f"{dataset}.parquet"
            home.cli("dataset", "download", dataset, "-o", out)
            files.append(out)
            ours, theirs = geopandas.read_parquet(out), expected(path, layer, scratch)
            worst, same = compare(ours, theirs)
            operation = home.cli("dataset", "show", dataset)["latest"]["provenance"]["crs_operation"]
            print(f"{dataset:20} {len(ours):6} rows (source {len(theirs)}), {same} compared, worst {worst:.1e}°, "
                  f"{operation['name'] if operation else 'no operation'}", flush=True)
            if len(ours) != len(theirs):
                failed.append(f"{dataset}: {len(ours)} rows, the source has {len(theirs)}")
            if same < len(theirs) * 0.8:
                failed.append(f"{dataset}: only {same} of {len(theirs)} geometries could be compared")
            if worst > TOLERANCE:
                failed.append(f"{dataset}: {worst} degrees off ogr2ogr's coordinates")
        home.stop()
        if subprocess.run([ROOT / "tests/outsiders/run", *files]).returncode:
            failed.append("an outsider found fault: see above")
    finally:
        home.kill_all()
        shutil.rmtree(scratch, ignore_errors=True)
    print("\n".join(failed) or "every outsider agrees")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
