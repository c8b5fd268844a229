"""The ground's height in metres above sea level: valley, hill, brook and embankment."""

import numpy as np

from . import layout

NODATA = -9999.0


def noise(rng, shape, cells):
    """Smooth noise of about unit height: random values on a coarse grid, cubically blended."""
    ny, nx = shape
    gy, gx = max(2, int(cells * ny / nx)), cells
    grid = rng.uniform(-1, 1, (gy + 2, gx + 2))
    y, x = np.linspace(0, gy, ny), np.linspace(0, gx, nx)
    iy, ix = np.minimum(y.astype(int), gy), np.minimum(x.astype(int), gx)
    fy, fx = y - iy, x - ix
    fy, fx = (fy * fy * (3 - 2 * fy))[:, None], (fx * fx * (3 - 2 * fx))[None, :]
    a, b = grid[np.ix_(iy, ix)], grid[np.ix_(iy, ix + 1)]
    c, d = grid[np.ix_(iy + 1, ix)], grid[np.ix_(iy + 1, ix + 1)]
    return (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy


def _profile(ways, kind, x):
    line = np.array(next(w for w in ways if w.kind == kind).line.coords)
    order = np.argsort(line[:, 0])
    return np.interp(x, line[order, 0], line[order, 1])


def height(ways, x, y):
    """The height at local coordinates, without roughness; arrays or numbers."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    brook = _profile(ways, "brook", x)
    north = np.maximum(y - brook, 0) / 100
    south = np.maximum(brook - y, 0) / 100
    z = 508.5 + 9.0 * x / 1600
    z = z + 1.2 * np.minimum(north, 1.0) + 20 * np.maximum(north - 0.8, 0) ** 1.55 / 2.6
    z = z - 14 * np.maximum(north - 4.2, 0) + 0.9 * south + 0.28 * south**2
    z = z + 16 * np.exp(-(((x - 620) / 330) ** 2) - ((y - 1120) / 190) ** 2)
    z = z - 1.9 * np.exp(-(((y - brook) / 5.5) ** 2))
    return z + 1.6 * np.exp(-(((y - _profile(ways, "railway", x)) / 10) ** 4))


def raster(ways, pixel=10):
    """Heights of pixel centres as float32, north up; NODATA outside the municipality."""
    import rasterio.features
    from rasterio.transform import from_origin

    w, h = layout.SIZE[0] // pixel, layout.SIZE[1] // pixel
    x = (np.arange(w) + 0.5) * pixel
    y = layout.SIZE[1] - (np.arange(h) + 0.5) * pixel
    xx, yy = np.meshgrid(x, y)
    rng = np.random.default_rng(512)
    rough = noise(rng, (h, w), 9) * 1.5 + noise(rng, (h, w), 26) * 0.5
    slope = np.clip((yy - 700) / 300, 0.15, 1)
    z = height(ways, xx, yy) + rough * slope
    z = np.round(z * 10) / 10  # a survey's decimetre, which also compresses well
    outside = rasterio.features.geometry_mask(
        [layout.MUNICIPALITY.buffer(20)], (h, w), from_origin(0, layout.SIZE[1], pixel, pixel))
    return np.where(outside, NODATA, z).astype(np.float32)
