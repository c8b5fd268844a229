"""The files, written so that the same town gives the same bytes."""

import csv
import io
import json
import os
import zipfile
from datetime import date

import numpy as np
import shapely
from shapely import affinity

from . import layout
from .cadastre import ZONE_NAMES

DAY = "2026-03-01"  # of the survey; stands wherever a format wants a time
os.environ["OGR_CURRENT_DATE"] = f"{DAY}T00:00:00.000Z"
os.environ["GDAL_NUM_THREADS"] = "1"

import pyogrio  # noqa: E402  (after the date that its GDAL reads)
import rasterio  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402
from rasterio.warp import transform  # noqa: E402

CRS = "EPSG:2056"


def _lv95(geom):
    """From local coordinates to LV95, on the grid of a centimetre."""
    moved = affinity.translate(geom, *layout.ORIGIN)
    return shapely.transform(moved, lambda c: np.round(c, 2))


def _column(values, kind):
    mask = np.array([v is None for v in values])
    if kind == "date":
        data = np.array([np.datetime64(v or "NaT", "D") for v in values])
    elif kind is str:
        data = np.array(values, dtype=object)
    else:
        data = np.array([kind() if v is None else v for v in values], dtype=np.dtype(kind))
    return data, mask


def _write(path, driver, layer, geoms, kind, columns, **options):
    """One layer; `columns` is a list of (name, type, values)."""
    made = [_column(values, t) for _, t, values in columns]
    pyogrio.raw.write(
        str(path), geometry=np.array([shapely.to_wkb(_lv95(g)) for g in geoms], dtype=object),
        field_data=[d for d, _ in made], field_mask=[m for _, m in made],
        fields=np.array([n for n, _, _ in columns], dtype=object), geometry_type=kind, crs=CRS,
        driver=driver, layer=layer, **options)


def parcels(path, rows, scratch):
    """A zipped Shapefile in Latin-1, with its .cpg and .prj."""
    rng = np.random.default_rng(77)
    surveyed = [None if rng.random() < 0.03 else f"{rng.integers(1936, 2026)}-"
                f"{rng.integers(1, 13):02}-{rng.integers(1, 29):02}" for _ in rows]
    owner = [None if i % 149 == 40 else p.owner for i, p in enumerate(rows)]
    columns = [
        ("NUMMER", str, [p.number for p in rows]), ("EGRID", str, [p.egrid for p in rows]),
        ("FLAECHE", np.int32, [round(p.geom.area) for p in rows]),
        ("ZONE", str, [p.zone for p in rows]), ("ZONENNAME", str, [ZONE_NAMES[p.zone] for p in rows]),
        ("FLURNAME", str, [layout.field_name(p.geom.representative_point()) for p in rows]),
        ("STRASSE", str, [p.street for p in rows]), ("EIGENTUM", str, owner),
        ("AUFNAHME", "date", surveyed)]
    _write(scratch / "parcels.shp", "ESRI Shapefile", "parcels", [p.geom for p in rows], "Polygon",
           columns, encoding="ISO-8859-1", layer_options={"DBF_DATE_LAST_UPDATE": DAY})
    with zipfile.ZipFile(path, "w") as out:
        for ending in ("shp", "shx", "dbf", "prj", "cpg"):
            member = zipfile.ZipInfo(f"parcels.{ending}", (*map(int, DAY.split("-")), 0, 0, 0))
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            member.create_system = 3
            out.writestr(member, (scratch / f"parcels.{ending}").read_bytes(), compresslevel=9)


def buildings(path, rows):
    """GeoJSON as RFC 7946 has it: longitude and latitude, outer rings counter-clockwise."""
    lines = []
    for b in rows:
        geom = shapely.orient_polygons(_lv95(b.geom))
        rings = []
        for ring in [geom.exterior, *geom.interiors]:
            e, n = np.array(ring.coords).T
            lon, lat = transform(CRS, "OGC:CRS84", e, n)
            ring = [[round(x, 7), round(y, 7)] for x, y in zip(lon, lat)]
            rings.append(ring)
        if b.bow_tie:  # two corners in the wrong order
            r = rings[0]
            rings[0] = [r[0], r[2], r[1], *r[3:]]
        feature = {"type": "Feature", "properties": {
            "id": b.id, "parcel_no": b.parcel.number, "class": b.kind, "name": b.name,
            "height": b.height, "levels": b.levels, "built": b.built},
            "geometry": {"type": "Polygon", "coordinates": rings}}
        lines.append(json.dumps(feature, ensure_ascii=False, separators=(",", ":")))
    head = '{"type":"FeatureCollection","features":[\n'
    path.write_text(head + ",\n".join(lines) + "\n]}\n", encoding="utf-8", newline="\n")


def network(path, roads, addresses):
    """A GeoPackage with the layers roads and addresses."""
    path.unlink(missing_ok=True)
    options = {"dataset_options": {"VERSION": "1.2", "ADD_GPKG_OGR_CONTENTS": "YES"}}
    _write(path, "GPKG", "roads", [r["line"] for r in roads], "LineString", [
        ("road_id", str, [r["road_id"] for r in roads]), ("class", str, [r["class"] for r in roads]),
        ("name", str, [r["name"] for r in roads]), ("width", float, [r["width"] for r in roads]),
        ("oneway", np.bool_, [r["oneway"] for r in roads]),
        ("surface", str, [r["surface"] for r in roads]),
        ("maxspeed", np.int32, [r["maxspeed"] for r in roads])], **options)
    _write(path, "GPKG", "addresses", [a["point"] for a in addresses], "Point", [
        ("street", str, [a["street"] for a in addresses]),
        ("house_number", str, [a["number"] for a in addresses]),
        ("postcode", str, [a["postcode"] for a in addresses]),
        ("town", str, [a["town"] for a in addresses]),
        ("parcel_no", str, [a["parcel"].number for a in addresses]),
        ("building_id", str, [a["building"].id for a in addresses])], append=True)


def hydrants(path, rows):
    """FlatGeobuf points with its packed index."""
    names = [("hydrant_id", str), ("type", str), ("status", str), ("street", str),
             ("diameter_mm", np.int32), ("pressure_bar", float), ("flow_l_min", np.int32),
             ("last_inspection", "date")]
    _write(path, "FlatGeobuf", "hydrants", [h["point"] for h in rows], "Point",
           [(n, t, [h[n] for h in rows]) for n, t in names])


def owners(path, header, rows):
    """The land register's export: semicolons, Latin-1, CR LF."""
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows([header, *rows])
    path.write_bytes(text.getvalue().encode("iso-8859-1"))


def _raster(path, data, pixel, **options):
    east, north = layout.ORIGIN
    at = from_origin(east, north + layout.SIZE[1], pixel, pixel)
    bands = data if data.ndim == 3 else data[None]
    with rasterio.open(path, "w", driver="GTiff", width=bands.shape[2], height=bands.shape[1],
                       count=bands.shape[0], dtype=bands.dtype, crs=CRS, transform=at,
                       **options) as out:
        out.write(bands)


def elevation(path, data, nodata):
    """Heights as float32, deflated with the floating-point predictor."""
    _raster(path, data, layout.SIZE[0] / data.shape[1], nodata=nodata, compress="deflate",
            predictor=3, zlevel=9)


def orthophoto(path, data):
    """The photograph as JPEG in a tiled GeoTIFF."""
    _raster(path, data, layout.SIZE[0] / data.shape[2], compress="jpeg", photometric="ycbcr",
            jpeg_quality=58, tiled=True, blockxsize=256, blockysize=256)
