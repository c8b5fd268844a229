"""Fixtures: homes for tests, and the folder of real data."""
import os
import pathlib
import shutil

import pytest
from installation import ROOT, Installation


@pytest.fixture
def bare_home(tmp_path):
    """A home in which nothing runs yet. Its path is short: sockets have 107 bytes."""
    path = pathlib.Path("/tmp") / f"cm-{os.getpid()}-{tmp_path.name[-24:]}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    home = Installation(path)
    yield home
    home.kill_all()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def home(bare_home):
    """A home in which everything runs."""
    return bare_home.start()


@pytest.fixture(scope="session")
def test_data():
    """Further real data, where there is some; with CI=true there must be."""
    path = pathlib.Path(os.environ.get("CATCHMENT_TEST_DATA", ROOT / "../shared/data")).resolve()
    if not path.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail("CATCHMENT_TEST_DATA must name the folder of real data in CI")
        return None
    return path
