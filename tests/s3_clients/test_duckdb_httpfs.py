"""DuckDB's httpfs, the way in which analysts read the lake."""

import duckdb
import pytest
from duckdb_extensions import import_extension


@pytest.fixture
def connection(server):
    import_extension("httpfs")
    connection = duckdb.connect()
    connection.load_extension("httpfs")
    connection.execute(
        f"""CREATE SECRET (TYPE s3, KEY_ID '{server.access_key}', SECRET '{server.secret_key}', REGION 'us-east-1',
            ENDPOINT '{server.host}', URL_STYLE 'path', USE_SSL {str(server.tls).lower()})"""
    )
    return connection


def test_parquet_is_written_and_read_in_part(connection, bucket):
    connection.execute(
        f"COPY (SELECT i, 'row ' || i AS t FROM range(500000) r(i)) TO 's3://{bucket}/t/n.parquet' (ROW_GROUP_SIZE 50000)"
    )
    assert connection.sql(f"SELECT count(*), max(i) FROM 's3://{bucket}/t/n.parquet'").fetchone() == (500000, 499999)
    assert connection.sql(f"SELECT t FROM 's3://{bucket}/t/n.parquet' WHERE i = 123456").fetchone() == ("row 123456",)


def test_globs_and_partitions_are_found(connection, bucket):
    connection.execute(
        f"COPY (SELECT i, i % 3 AS p FROM range(300) r(i)) TO 's3://{bucket}/set' (FORMAT parquet, PARTITION_BY (p))"
    )
    assert connection.sql(f"SELECT count(*) FROM 's3://{bucket}/set/*/*.parquet'").fetchone() == (300,)
    where = f"read_parquet('s3://{bucket}/set/**/*.parquet', hive_partitioning = true)"
    assert connection.sql(f"SELECT count(*) FROM {where} WHERE p = 1").fetchone() == (100,)


def test_csv_with_a_hostile_name_goes_there_and_back(connection, bucket):
    path = f"s3://{bucket}/a dir/ü & +.csv"
    connection.execute(f"COPY (SELECT 1 AS a, 'x' AS b) TO '{path}' (HEADER)")
    assert connection.sql(f"SELECT * FROM read_csv('{path}')").fetchone() == (1, "x")
