#!/usr/bin/env python3
"""Proves that the committed files are the town that the README describes and the generator makes.

`python3 test_town.py` needs the packages of requirements.txt, for it makes the town twice and
compares; `--files-only` reads the committed files alone, with nothing but the standard library.
Its figures are the README's: change both together.
"""

import csv
import hashlib
import json
import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = ["parcels.zip", "buildings.geojson", "network.gpkg", "hydrants.fgb", "owners.csv",
         "elevation.tif", "orthophoto.tif"]
PARCELS, BUILDINGS, BOW_TIES, ROADS, ADDRESSES, HYDRANTS, OWNERS = 593, 598, 7, 90, 455, 96, 1022


def dbf():
    """The rows of parcels.dbf, decoded as its .cpg says, and its header's date."""
    with zipfile.ZipFile(HERE / "parcels.zip") as z:
        data, coding = z.read("parcels.dbf"), z.read("parcels.cpg").decode().strip()
    count, start, size = struct.unpack("<IHH", data[4:12])
    fields, at, offset = [], 32, 1
    while data[at] != 0x0D:
        fields.append((data[at:at + 11].split(b"\0")[0].decode(), offset, data[at + 16]))
        offset, at = offset + data[at + 16], at + 32
    rows = []
    for i in range(count):
        row = data[start + i * size:start + (i + 1) * size]
        rows.append({n: row[o:o + w].decode(coding).strip() for n, o, w in fields})
    return rows, data[1:4], coding


def shapes():
    """Each parcel's rings from parcels.shp, as lists of (east, north)."""
    with zipfile.ZipFile(HERE / "parcels.zip") as z:
        data = z.read("parcels.shp")
    at, out = 100, []
    while at < len(data):
        length = struct.unpack(">I", data[at + 4:at + 8])[0] * 2
        body = data[at + 8:at + 8 + length]
        parts, points = struct.unpack("<II", body[36:44])
        starts = [*struct.unpack(f"<{parts}I", body[44:44 + 4 * parts]), points]
        xy = struct.unpack(f"<{2 * points}d", body[44 + 4 * parts:])
        out.append([[(xy[2 * i], xy[2 * i + 1]) for i in range(a, b)]
                    for a, b in zip(starts, starts[1:])])
        at += 8 + length
    return out


def ring_area(ring):
    """Signed area; positive is clockwise, as a Shapefile's outer rings are."""
    e0, n0 = ring[0]
    return sum((c[0] - e0) * (b[1] - n0) - (b[0] - e0) * (c[1] - n0)
               for b, c in zip(ring, ring[1:])) / 2


def crosses(a, b, c, d):
    """Whether the segments ab and cd cross in their interiors."""
    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def tiff_tags(name):
    """The tags of a classic little-endian TIFF's first image that are short numbers or text."""
    data = (HERE / name).read_bytes()
    assert data[:4] == b"II*\0", f"{name} is not a little-endian TIFF"
    at = struct.unpack("<I", data[4:8])[0]
    tags = {}
    for i in range(struct.unpack("<H", data[at:at + 2])[0]):
        tag, kind, n, value = struct.unpack("<HHI4s", data[at + 2 + 12 * i:at + 14 + 12 * i])
        if kind == 3 and n == 1:
            tags[tag] = struct.unpack("<H", value[:2])[0]
        elif kind == 2:
            start = struct.unpack("<I", value)[0]
            tags[tag] = data[start:start + n - 1].decode() if n > 4 else value[:n - 1].decode()
    return tags


def test_parcels_tile_the_municipality_and_say_their_area():
    rows, day, coding = dbf()
    rings = shapes()
    assert (len(rows), len(rings), coding) == (PARCELS, PARCELS, "ISO-8859-1")
    assert tuple(day) == (126, 3, 1), "the .dbf's date is not that of the survey"
    assert all(len(r["NUMMER"]) == 4 and r["NUMMER"].isdigit() for r in rows)
    assert len({r["NUMMER"] for r in rows}) == len({r["EGRID"] for r in rows}) == PARCELS
    areas = [sum(map(ring_area, parcel)) for parcel in rings]
    assert all(abs(a - int(r["FLAECHE"])) < 0.51 for a, r in zip(areas, rows))
    # Without gaps and overlaps, each edge is either shared in opposite directions or on the rim;
    # the rim is one closed line, so that each of its points begins as many edges as it ends.
    edges = Counter(e for parcel in rings for ring in parcel for e in zip(ring, ring[1:]))
    assert max(edges.values()) == 1, "two parcels lie on the same side of one edge"
    rim = [e for e in edges if e[::-1] not in edges]
    assert abs(ring_sum(rim) - sum(areas)) < 1
    assert Counter(a for a, _ in rim) == Counter(b for _, b in rim)
    inner = [sum(ring_area(r) < 0 for r in parcel) for parcel in rings]
    outer = [sum(ring_area(r) > 0 for r in parcel) for parcel in rings]
    assert sum(n > 0 for n in inner) == 2 and sorted(n for n in outer if n > 1) == [2, 3]
    nulls = [sum(not r[k].strip("0*") for r in rows) for k in ("STRASSE", "EIGENTUM", "AUFNAHME")]
    assert nulls == [74, 4, 11], nulls


def ring_sum(edges):
    """The area within a set of directed edges, clockwise positive."""
    e0, n0 = edges[0][0]
    return sum((c[0] - e0) * (b[1] - n0) - (b[0] - e0) * (c[1] - n0) for b, c in edges) / 2


def test_buildings_stand_on_known_parcels_and_seven_are_bow_ties():
    features = json.loads((HERE / "buildings.geojson").read_text(encoding="utf-8"))["features"]
    known = {r["NUMMER"] for r in dbf()[0]}
    assert len(features) == BUILDINGS
    assert len({f["properties"]["id"] for f in features}) == BUILDINGS
    ties = courtyards = 0
    for f in features:
        p, rings = f["properties"], f["geometry"]["coordinates"]
        assert p["parcel_no"] in known, p
        assert 2 <= p["height"] / p["levels"] <= 9.7 or p["class"] == "church", p
        assert p["built"] is None or "1512" <= p["built"] < "2026", p
        lon, lat = rings[0][0]
        assert 7.51 < lon < 7.55 and 47.06 < lat < 47.08, (lon, lat)
        ring, courtyards = rings[0], courtyards + (len(rings) > 1)
        sides = list(zip(ring, ring[1:]))
        ties += any(crosses(*s, *t) for i, s in enumerate(sides) for t in sides[:i])
    assert (ties, courtyards) == (BOW_TIES, 1)


def test_the_geopackage_has_two_layers_and_odd_numbers_face_even_ones():
    with sqlite3.connect(f"file:{HERE / 'network.gpkg'}?mode=ro&immutable=1", uri=True) as db:
        layers = dict(db.execute("select table_name, srs_id from gpkg_contents"))
        days = {d for d, in db.execute("select last_change from gpkg_contents")}
        assert layers == {"roads": 2056, "addresses": 2056} and len(days) == 1
        count = "select count(*) from "
        assert db.execute(count + "roads").fetchone() == (ROADS,)
        assert db.execute(count + "addresses").fetchone() == (ADDRESSES,)
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        rows = db.execute("select street, house_number, postcode, town, building_id from addresses")
        rows = rows.fetchall()
    assert len({(s, n) for s, n, *_ in rows}) == ADDRESSES, "an address is given out twice"
    assert {(p, t) for _, _, p, t, _ in rows} == {("3399", "Lüttiswil")}
    odd = sum(int(n.rstrip("abc")) % 2 for _, n, *_ in rows)
    assert 0.35 < odd / ADDRESSES < 0.65


def test_the_flatgeobuf_states_its_hydrants():
    data = (HERE / "hydrants.fgb").read_bytes()
    assert data[:4] == b"fgb\x03"
    table = 12 + struct.unpack("<I", data[12:16])[0]
    vtable = table - struct.unpack("<i", data[table:table + 4])[0]
    field = struct.unpack("<H", data[vtable + 4 + 2 * 8:vtable + 6 + 2 * 8])[0]  # features_count
    assert struct.unpack("<Q", data[table + field:table + field + 8])[0] == HYDRANTS


def test_owners_join_the_parcels_and_their_shares_add_up():
    raw = (HERE / "owners.csv").read_bytes()
    rows = list(csv.reader(raw.decode("iso-8859-1").splitlines(), delimiter=";"))
    header, rows = rows[0], rows[1:]
    assert raw.count(b"\r\n") == raw.count(b"\n") == len(rows) + 1 == OWNERS + 1
    assert header.count("Ort") == 2 and "" in header and header[0] == " Parz.-Nr. "
    assert {len(r) for r in rows} == {len(header)}
    assert sum(r[0] != r[0].strip() for r in rows) == 66
    known, shares = {r["NUMMER"] for r in dbf()[0]}, Counter()
    for r in rows:
        shares[r[0].strip()] += Fraction(r[2])
    assert set(shares.values()) == {Fraction(1)}
    assert (len(known - set(shares)), len(set(shares) - known)) == (4, 2)


def test_the_rasters_are_what_they_should_be():
    ground, photo = tiff_tags("elevation.tif"), tiff_tags("orthophoto.tif")
    assert (ground[256], ground[257], ground[339], ground[42113]) == (160, 120, 3, "-9999")
    assert (photo[256], photo[257], photo[277], photo[259]) == (1600, 1200, 3, 7)


def test_all_files_together_are_under_a_megabyte():
    assert sum((HERE / f).stat().st_size for f in FILES) < 1_000_000


def content(path):
    """What must be the same: the bytes, of a zip those of its members (zlibs pack differently)."""
    if path.suffix != ".zip":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with zipfile.ZipFile(path) as z:
        return [(i.filename, i.date_time, z.read(i)) for i in z.infolist()]


def test_the_generator_makes_these_files_twice_over():
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        for n, zone in enumerate(("UTC", "Pacific/Auckland")):
            folder = Path(scratch) / str(n)
            env = {**os.environ, "TZ": zone, "PYTHONHASHSEED": str(n + 1),
                   "PYTHONDONTWRITEBYTECODE": "1"}
            subprocess.run([sys.executable, HERE / "generate.py", folder], check=True, env=env,
                           stdout=subprocess.DEVNULL)
            made.append(folder)
        for f in FILES:
            assert (made[0] / f).read_bytes() == (made[1] / f).read_bytes(), \
                f"{f} differs between two runs of generate.py"
            assert content(made[0] / f) == content(HERE / f), \
                f"{f} is not what generate.py makes: run it, look at the map, commit the files"


def main():
    """Runs every test above; the first that fails ends it."""
    tests = [(n, t) for n, t in globals().items() if n.startswith("test_")]
    if sys.argv[1:] == ["--files-only"]:
        tests = tests[:-1]
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        try:
            import numpy, pyogrio, rasterio, shapely  # noqa: E401, F401
        except ImportError as e:
            sys.exit(f"{e}: the generator's packages are missing. Run "
                     f"`pip install -r {HERE / 'requirements.txt'}` in a virtual environment "
                     "and use its python3, or give --files-only.")
    for name, test in tests:
        test()
        print("ok", name.removeprefix("test_").replace("_", " "))


if __name__ == "__main__":
    main()
