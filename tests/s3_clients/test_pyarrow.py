"""pyarrow's S3 filesystem: the way of pandas, GeoPandas and Arrow datasets."""

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector, FileType, S3FileSystem


@pytest.fixture
def filesystem(server):
    return S3FileSystem(
        access_key=server.access_key, secret_key=server.secret_key, endpoint_override=server.host,
        scheme="https" if server.tls else "http", region="us-east-1", allow_bucket_creation=False,
    )


def test_a_table_is_written_and_read_in_part(filesystem, bucket):
    table = pa.table({"n": range(200_000), "text": [f"row {i}" for i in range(200_000)]})
    path = f"{bucket}/tables/numbers.parquet"
    pq.write_table(table, path, filesystem=filesystem, row_group_size=10_000)
    assert pq.read_table(path, filesystem=filesystem).equals(table)
    few = pq.read_table(path, filesystem=filesystem, columns=["n"], filters=[("n", ">=", 199_990)])
    assert few["n"].to_pylist() == list(range(199_990, 200_000))


def test_a_partitioned_dataset_is_written_and_found(filesystem, bucket):
    table = pa.table({"part": ["a", "b", "c"] * 100, "n": range(300)})
    ds.write_dataset(table, f"{bucket}/set", filesystem=filesystem, format="parquet", partitioning=["part"])
    found = ds.dataset(f"{bucket}/set", filesystem=filesystem, format="parquet", partitioning=["part"])
    assert found.count_rows() == 300
    assert found.to_table(filter=ds.field("part") == "b").num_rows == 100


def test_a_large_stream_goes_in_parts(filesystem, bucket):
    piece = bytes(range(256)) * 4096
    with filesystem.open_output_stream(f"{bucket}/large.bin") as out:
        for _ in range(24):
            out.write(piece)
    assert filesystem.get_file_info(f"{bucket}/large.bin").size == 24 << 20
    with filesystem.open_input_file(f"{bucket}/large.bin") as file:
        file.seek((24 << 20) - 256)
        assert file.read() == bytes(range(256))


def test_folders_are_listed_copied_moved_and_removed(filesystem, bucket):
    for name in ("x/1 ä", "x/2", "x/y/3", "z"):
        with filesystem.open_output_stream(f"{bucket}/{name}") as out:
            out.write(name.encode())
    infos = filesystem.get_file_info(FileSelector(bucket))
    assert sorted((i.base_name, i.type) for i in infos) == [("x", FileType.Directory), ("z", FileType.File)]
    infos = filesystem.get_file_info(FileSelector(f"{bucket}/x", recursive=True))
    assert sorted(i.base_name for i in infos if i.type == FileType.File) == ["1 ä", "2", "3"]
    filesystem.copy_file(f"{bucket}/z", f"{bucket}/copy")
    filesystem.move(f"{bucket}/copy", f"{bucket}/moved")
    assert filesystem.get_file_info(f"{bucket}/copy").type == FileType.NotFound
    filesystem.delete_dir(f"{bucket}/x")
    assert filesystem.get_file_info(f"{bucket}/x/y/3").type == FileType.NotFound
