"""Bad input: each gets its clear error, in the run or in the refusal, and harms nothing else."""
import io
import json
import subprocess
import zipfile

import pytest
from installation import TOWN, wait_for

POINT = {"type": "Feature", "properties": {"n": 1}, "geometry": {"type": "Point", "coordinates": [7.4, 46.9]}}


def collection(*features):
    return json.dumps({"type": "FeatureCollection", "features": list(features)}).encode()


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, body in members.items():
            z.writestr(name.replace("__", "."), body)
    return out.getvalue()


def shapefile_without_prj():
    with zipfile.ZipFile(TOWN / "parcels.zip") as source:
        return zipped(**{n: source.read(n) for n in source.namelist() if not n.endswith(".prj")})


def problem(home, batch_id):
    """The problem of the batch's failed run."""
    record = home.ended(batch_id)
    assert record["manifest"]["status"] == "failure", record
    assert record["manifest"]["error_message"]
    return record["run"]["problem"]


BROKEN = b'{"type":"FeatureCollection","features":[' + json.dumps(POINT).encode() + b',{"type":"Feature","properties":' \
    b'{},"geometry":{"type":"Point","coordinates":[7.4}},' + json.dumps(POINT).encode() + b"]}"
VRT = b'<OGRVRTDataSource><OGRVRTLayer name="x"><SrcDataSource>/etc/passwd</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'

FILES = [
    ("is empty", "a.geojson", lambda: b"", {}, "file_empty"),
    ("is cut off", "a.geojson", lambda: (TOWN / "buildings.geojson").read_bytes()[:20_000], {}, "file_corrupt"),
    ("is cut off", "a.fgb", lambda: (TOWN / "hydrants.fgb").read_bytes()[:9_000], {}, "file_corrupt"),
    ("is not what its format says", "a.gpkg", lambda: collection(POINT), {}, "format_mismatch"),
    ("is no spatial file", "a.geojson", lambda: b"hello, world\n" * 50, {}, "format_mismatch"),
    ("has no CRS", "a.zip", shapefile_without_prj, {}, "crs_missing"),
    ("contradicts the manifest's CRS", "a.fgb", lambda: (TOWN / "hydrants.fgb").read_bytes(), {"crs": "EPSG:2263"},
     "crs_conflict"),
    ("is a zip bomb", "a.zip", lambda: zipped(a__shp=b"\0" * 400_000_000), {}, "archive_refused"),
    ("is a VRT", "a.geojson", lambda: VRT, {}, ("format_mismatch", "format_not_allowed")),
    ("is a VRT in a zip", "a.zip", lambda: zipped(a__vrt=VRT), {}, ("format_mismatch", "format_not_allowed", "archive_refused")),
    ("has two layers and none is named", "a.gpkg", lambda: (TOWN / "network.gpkg").read_bytes(), {}, "layer_ambiguous"),
    ("has no such layer", "a.gpkg", lambda: (TOWN / "network.gpkg").read_bytes(), {"layer": "rivers"}, "layer_ambiguous"),
    ("has a broken feature in the middle", "a.geojson", lambda: BROKEN, {}, "file_corrupt"),
]


def test_each_bad_file_fails_its_own_run_with_its_own_reason(home):
    for i, (_, name, body, entry, _) in enumerate(FILES):
        home.put_batch(f"bad-{i}", name, name=name, body=body(), dataset=f"bad_{i}", **entry)
    home.put_batch("good", TOWN / "hydrants.fgb", dataset="good")
    for i, (what, _, _, _, code) in enumerate(FILES):
        found = problem(home, f"bad-{i}")
        assert found["code"] in (code if isinstance(code, tuple) else (code,)), f"a file that {what}: {found}"
        assert found["what"] and found.get("remedy"), f"a file that {what}: {found}"
        assert home.versions(f"bad_{i}") == []
    assert home.ended("good")["manifest"]["status"] == "success"
    assert home.cli("lake", "verify")["clean"] is True


def test_a_file_that_is_not_there_fails_the_run_and_is_named(home):
    manifest = {"batch_id": "ghost", "uploader": "e2e", "intent": "ingest_vector", "metadata": {},
                "files": [{"path": "s3://landing-zone/nowhere/ghost.gpkg", "type": "vector", "format": "GPKG"}]}
    home.s3().put_object(Bucket="landing-zone", Key="manifests/ghost.json", Body=json.dumps(manifest))
    found = problem(home, "ghost")
    assert found["code"] == "file_not_found" and "nowhere/ghost.gpkg" in json.dumps(found)


def test_null_and_empty_geometries_are_kept_and_counted(home):
    null = {"type": "Feature", "properties": {"n": 2}, "geometry": None}
    empty = {"type": "Feature", "properties": {"n": 3}, "geometry": {"type": "MultiPolygon", "coordinates": []}}
    home.put_batch("holes", "a.geojson", body=collection(POINT, null, empty), dataset="holes")
    assert home.ended("holes")["manifest"]["status"] == "success"
    metadata = home.versions("holes")[0]["metadata"]
    counts = metadata["counts"]
    assert metadata["feature_count"] == 3
    assert (counts["null_geometries"], counts["empty_geometries"]) == (1, 1)


def refused(home, name, body):
    """Puts a manifest and answers its refusal."""
    home.s3().put_object(Bucket="landing-zone", Key=f"manifests/{name}.json", Body=body)
    found = wait_for(lambda: [r for r in home.get("/api/v1/rejected-manifests")["rejected"] if f"/{name}.json" in r["s3_key"]],
                     saying=f"{name} was not refused")
    wait_for(lambda: "Contents" in home.s3().list_objects_v2(
        Bucket="landing-zone", Prefix=f"archive/manifests/{name}.error.json"), saying="no error file")
    error = json.load(home.s3().get_object(Bucket="landing-zone", Key=f"archive/manifests/{name}.error.json")["Body"])
    return found[0], error


GOOD = {"batch_id": "b", "uploader": "e2e", "intent": "ingest_vector", "metadata": {},
        "files": [{"path": "s3://landing-zone/b/a.gpkg", "type": "vector", "format": "GPKG"}]}


@pytest.mark.parametrize("name,change,place", [
    ("unknown-field", lambda m: m | {"bacth": 1}, "$.bacth"),
    ("other-bucket", lambda m: m | {"files": [m["files"][0] | {"path": "s3://data-lake/a.gpkg"}]}, "$.files[0].path"),
    ("dots", lambda m: m | {"files": [m["files"][0] | {"path": "s3://landing-zone/../a.gpkg"}]}, "$.files[0].path"),
    ("several-files", lambda m: m | {"files": [m["files"][0], m["files"][0] | {"path": "s3://landing-zone/b/c.gpkg"}]}, "$.files"),
])
def test_a_bad_manifest_is_refused_with_the_place_of_its_fault(home, name, change, place):
    record, error = refused(home, name, json.dumps(change(GOOD)))
    assert any(f["path"].startswith(place) for f in error["faults"]), error
    assert record["faults"] == error["faults"]
    assert home.get("/api/v1/runs")["runs"] == []


def test_ten_faults_are_reported_at_once_and_use_no_batch_id_up(home):
    bad = {"batch_id": "", "uploader": 5, "intent": "", "extra": 1,
           "files": [{"path": "x", "type": "cube", "format": ""}, {"path": "s3://landing-zone/a/../b", "format": "GPKG"}],
           "metadata": {"tags": {"dataset_id": "-no", "nested": {}}}}
    _, error = refused(home, "ten", json.dumps(bad))
    assert len(error["faults"]) >= 10, error
    _, error = refused(home, "typo", json.dumps(GOOD | {"batch_id": "later", "oops": 1}))
    home.put_batch("later", TOWN / "hydrants.fgb", dataset="hydrants")
    assert home.ended("later")["manifest"]["status"] == "success"


def test_a_manifest_that_is_not_json_is_refused_with_line_and_column(home):
    _, error = refused(home, "nojson", b'{"batch_id": "x",\n  oops}')
    assert "line 2" in json.dumps(error), error


def test_a_shapefile_without_prj_is_taken_with_the_manifests_crs(home):
    home.put_batch("given", "a.zip", body=shapefile_without_prj(), dataset="given", crs="EPSG:2056")
    assert home.ended("given")["manifest"]["status"] == "success"


def test_gdal_and_the_lake_agree_on_counts_of_real_data(home, test_data):
    if test_data is None:
        return
    home.put_batch("nybb", test_data / "nybb/nybb_16a.zip", dataset="nybb")
    assert home.ended("nybb")["manifest"]["status"] == "success"
    out = subprocess.run(["ogrinfo", "-so", "-al", f"/vsizip/{test_data}/nybb/nybb_16a.zip/nybb.shp"], capture_output=True, text=True)
    assert "Feature Count: 5" in out.stdout
    version = home.versions("nybb")[0]
    assert version["metadata"]["feature_count"] == 5
    assert -75 < version["bounds"]["minx"] < -73 and 40 < version["bounds"]["miny"] < 41
