"""An aerial photograph, painted: fields, meadows, wood, roads, roofs, trees and their shadows."""

import random

import numpy as np
from rasterio.features import rasterize
from rasterio.transform import from_origin
from shapely import affinity
from shapely.geometry import LineString, Point, Polygon
from shapely.ops import unary_union

from . import layout
from .cadastre import polygons
from .terrain import height, noise

FINE = 0.5  # metres a pixel while painting; the photograph has 1 m
SUN = (0.55, -0.6)  # shift of a shadow per metre of height
CROPS = [(122, 144, 74), (138, 156, 84), (106, 134, 66), (168, 160, 100), (150, 132, 98),
         (188, 172, 112), (128, 150, 80), (112, 140, 70)]
ROOFS = {"old": [(142, 84, 62), (128, 72, 54), (152, 96, 72)],
         "new": [(158, 94, 70), (132, 78, 62), (112, 102, 98), (96, 92, 92), (168, 110, 84)],
         "flat": [(172, 170, 166), (150, 152, 154), (186, 182, 174)]}


class Canvas:
    """An RGB picture in float, painted with masks made of local geometry."""

    def __init__(self):
        self.w, self.h = int(layout.SIZE[0] / FINE), int(layout.SIZE[1] / FINE)
        self.rgb = np.zeros((3, self.h, self.w), np.float32)
        self.transform = from_origin(0, layout.SIZE[1], FINE, FINE)

    def burn(self, pairs, dtype="int32"):
        """Geometry numbered into an array; 0 where there is none."""
        pairs = [(g, v) for g, v in pairs if not g.is_empty]
        return rasterize(pairs, (self.h, self.w), transform=self.transform, dtype=dtype) \
            if pairs else np.zeros((self.h, self.w), dtype)

    def paint(self, pairs):
        """Fills each geometry with its colour, the later over the earlier."""
        ids = self.burn([(g, i + 1) for i, (g, _) in enumerate(pairs)])
        table = np.array([(0, 0, 0)] + [c for _, c in pairs], np.float32).T
        self.rgb = np.where(ids > 0, table[:, ids], self.rgb)

    def shade(self, geoms, factor):
        """Multiplies the picture by `factor` within the geometry."""
        mask = self.burn([(g, 1) for g in geoms], "uint8") > 0
        self.rgb = np.where(mask, self.rgb * factor, self.rgb)


def _fields(canvas, parcels, rng):
    pairs, lines = [], []
    for p in parcels:
        if p.zone == "LW" and not p.special:
            colour = rng.choice(CROPS)
        elif p.zone == "GE":
            colour = (160, 158, 150)
        elif p.zone == "K":
            colour = rng.choice([(132, 140, 104), (150, 146, 128), (122, 134, 92)])
        else:
            shade = rng.randint(-9, 9)
            colour = (112 + shade, 138 + shade, 82 + shade)
        pairs.append((p.geom, colour))
        if p.zone == "LW" and colour in CROPS[3:6]:  # drilled rows along the longer side
            corners = np.array(p.geom.minimum_rotated_rectangle.exterior.coords)[:3]
            a, b = corners[1] - corners[0], corners[2] - corners[1]
            if np.hypot(*a) < np.hypot(*b):
                corners, a, b = corners[1:], b, -a
            n = int(np.hypot(*b) / 9)
            for k in range(1, n):
                start = corners[0] + b * k / n if len(corners) == 3 else corners[0] - b * k / n
                lines.append(LineString([start, start + a]).buffer(1.1).intersection(p.geom))
    canvas.paint(pairs)
    canvas.shade(lines, 0.93)


def _ways(canvas, ways, parcels):
    verge = {"brook": (98, 124, 70), "railway": (138, 130, 116)}
    canvas.paint([(p.geom, verge.get(p.way.kind, (128, 144, 98))) for p in parcels if p.way])
    colours = {"railway": (124, 116, 108), "brook": (78, 104, 104), "track": (190, 180, 154),
               "lane": (166, 160, 152), "main": (146, 146, 148)}
    order = [w for w in reversed(ways)]
    canvas.paint([(layout.strip(w, w.paved).buffer(0.1), colours.get(w.kind, (154, 154, 156)))
                  for w in order if w.kind == "brook"])
    canvas.paint([(w.line.buffer(w.paved / 2, join_style="round"),
                   colours.get(w.kind, (154, 154, 156))) for w in order if w.kind != "brook"])
    canvas.paint([(layout.SQUARE, (172, 166, 156))])
    rail = next(w for w in ways if w.kind == "railway").line
    yard = Polygon([(720, 0), (990, 0), (990, 400), (720, 400)])
    tracks = [rail.offset_curve(o) for o in (2.2, -2.2)]
    tracks += [rail.intersection(yard).offset_curve(o) for o in (7.5, -7.5)]
    canvas.shade([t.buffer(0.8) for t in tracks], 0.72)
    platform = rail.intersection(Polygon([(820, 0), (960, 0), (960, 400), (820, 400)]))
    canvas.paint([(platform.offset_curve(11).buffer(1.6, cap_style="flat"), (186, 184, 180))])
    dashes = [w.line for w in ways if w.kind == "main"]
    canvas.paint([(unary_union([line.buffer(0.3) for line in dashes]), (176, 176, 176))])


def _roofs(canvas, buildings, rng):
    shadows, roofs = [], []
    for b in buildings:
        reach = min(b.height, 16) * 0.75
        parts = [affinity.translate(b.geom, SUN[0] * reach * k / 4, SUN[1] * reach * k / 4)
                 for k in range(5)]
        shadows.append(unary_union(parts).difference(b.geom))
        flat = b.kind in ("industrial", "garage", "apartments") or b.shape == "hall"
        kind = "flat" if flat else "old" if not b.built or b.built < "1950" else "new"
        base = np.array(rng.choice(ROOFS[kind]), float) + rng.uniform(-8, 8)
        roofs.append((b.geom, tuple(base)))
        if flat:
            roofs.append((b.geom.buffer(-1.0), tuple(base * 1.05)))
            continue
        corners = np.array(b.geom.minimum_rotated_rectangle.exterior.coords)[:4]
        a, c = corners[1] - corners[0], corners[2] - corners[1]
        if np.hypot(*a) < np.hypot(*c):  # the ridge runs along the longer side
            corners = np.roll(corners, -1, axis=0)
            a, c = corners[1] - corners[0], corners[2] - corners[1]
        half = Polygon([corners[0], corners[1], corners[1] + c / 2, corners[0] + c / 2])
        light = 1.13 if (-c[0] * -SUN[0] + -c[1] * -SUN[1]) > 0 else 0.84
        roofs.append((half.intersection(b.geom), tuple(base * light)))
    canvas.shade(shadows, 0.58)
    canvas.paint(roofs)
    return unary_union([b.geom for b in buildings])


def _trees(canvas, parcels, ways, roofs, rng):
    """Trees as discs with a lit side: in the wood, along the brook, in gardens and orchards."""
    spots = []
    wood = layout.forests().intersection(layout.EXTENT)
    tracks = unary_union([w.line.buffer(3.5) for w in ways if w.kind == "track"])
    island = unary_union(list(layout.enclaves().values())).buffer(2)
    wood = wood.difference(tracks).difference(island)
    for part in polygons(wood):
        x0, y0, x1, y1 = part.bounds
        for _ in range(int((x1 - x0) * (y1 - y0) / 22)):
            p = Point(rng.uniform(x0, x1), rng.uniform(y0, y1))
            if part.contains(p):
                spots.append((p, rng.uniform(2.6, 4.6), rng.random() < 0.4))
    brook = next(w for w in ways if w.kind == "brook").line
    streets = unary_union([w.line.buffer(w.paved / 2 + 1.5) for w in ways if w.kind != "brook"])
    blocked = roofs.buffer(1.5).union(streets)
    at = 0.0
    while at < brook.length:
        side = brook.interpolate(at)
        p = Point(side.x + rng.uniform(-3, 3), side.y + rng.choice((-5, 5)) + rng.uniform(-1, 1))
        if not blocked.contains(p) and rng.random() < 0.75:
            spots.append((p, rng.uniform(1.6, 3.8), False))
        at += rng.uniform(4, 13)
    for p in parcels:
        if p.way or p.zone in ("WA", "GE"):
            continue
        garden = p.zone in ("W2", "W3", "K", "OeN")
        n = int(p.geom.area / (210 if garden else 1e9)) + (14 if p.special in layout.FARMS else 0)
        x0, y0, x1, y1 = p.geom.bounds
        for _ in range(n):
            q = Point(rng.uniform(x0, x1), rng.uniform(y0, y1))
            if p.geom.contains(q) and not blocked.contains(q):
                spots.append((q, rng.uniform(1.0, 2.6), False))
    crowns = [(p.buffer(r, 4), (58 + d, 88 + d, 48)) for p, r, dark in spots
              for d in [rng.randint(-10, 12) - (12 if dark else 0)]]
    lit = [(affinity.translate(p.buffer(r * 0.55, 4), -SUN[0] * r * 0.45, -SUN[1] * r * 0.45),
            (82 + d, 112 + d, 62)) for p, r, dark in spots
           for d in [rng.randint(-8, 14) - (14 if dark else 0)]]
    canvas.paint([(wood, (44, 66, 40))])
    canvas.shade([affinity.translate(p.buffer(r, 4), SUN[0] * r * 1.3, SUN[1] * r * 1.3)
                  for p, r, _ in spots], 0.68)
    canvas.paint(crowns)
    canvas.paint(lit)


def paint(parcels, buildings, ways):
    """The photograph as uint8 (3, rows, columns), north up, a pixel a metre."""
    rng = random.Random(8)
    canvas = Canvas()
    _fields(canvas, parcels, rng)
    _ways(canvas, ways, parcels)
    roofs = _roofs(canvas, buildings, rng)
    _trees(canvas, parcels, ways, roofs, rng)
    fine = canvas.rgb
    rows, cols = canvas.h // 2, canvas.w // 2
    rgb = fine.reshape(3, rows, 2, cols, 2).mean(axis=(2, 4))
    tone = np.random.default_rng(8)
    rgb *= 1 + 0.05 * noise(tone, (rows, cols), 14) + 0.03 * noise(tone, (rows, cols), 60)
    x, y = np.meshgrid(np.arange(cols) + 0.5, layout.SIZE[1] - np.arange(rows) - 0.5)
    z = height(ways, x, y)
    slope = np.gradient(z, axis=1) * 0.8 + np.gradient(z, axis=0) * 0.5
    rgb *= 1 + np.clip(slope, -0.25, 0.25) * 0.35
    return np.clip(np.round(rgb), 0, 255).astype(np.uint8)
