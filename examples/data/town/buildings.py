"""The buildings: set on their parcels, in line with their street."""

import random
from dataclasses import dataclass

import numpy as np
from shapely import affinity
from shapely.geometry import LineString, Point, Polygon, box

from . import layout
from .cadastre import polygons

BOW_TIES = 7


@dataclass
class Building:
    """One footprint; `ring` replaces its outline where that was digitised wrongly."""

    geom: Polygon
    kind: str
    levels: int
    height: float
    built: str | None
    parcel: object
    street: object = None
    name: str | None = None
    shape: str = "rectangle"
    bow_tie: bool = False
    id: str = ""


# When a street was built up, roughly.
ERAS = {"Rebenweg": (1924, 1962), "Sonnenrain": (1958, 1984), "Höhenweg": (1978, 2006),
        "Sonnhalde": (1992, 2012), "Lindenweg": (1946, 1974), "Bergstrasse": (1982, 2016),
        "Ahornweg": (1986, 2009), "Mattenstrasse": (1932, 1968), "Gartenweg": (1948, 1979),
        "Rosenweg": (1934, 1966), "Nelkenweg": (1951, 1975), "Am Bach": (2004, 2022),
        "Sägeweg": (1964, 2019), "Schulweg": (1958, 1996), "Bernstrasse": (1892, 1958),
        "Bahnhofstrasse": (1876, 1946), "Solothurnstrasse": (1905, 1972),
        "Industriestrasse": (1961, 2018), "Güterstrasse": (1878, 2004)}
# Known houses: name, kind, where, shape, width, depth, levels, height, year
KNOWN = [
    ("Kirche St. Märten", "church", (646, 738), "church", 31, 15, 1, 38.5, 1512),
    ("Pfarrhaus", "residential", (630, 716), "rectangle", 14, 11, 2, 11.2, 1738),
    ("Schulhaus Mättli", "school", (1072, 500), "u", 58, 40, 3, 12.4, 1958),
    ("Turnhalle", "school", (1066, 470), "rectangle", 32, 18, 1, 8.6, 1974),
    ("Bahnhof", "station", (850, 264), "rectangle", 30, 10, 2, 9.8, 1876),
    ("Gasthof Krone", "commercial", (728, 672), "court", 24, 22, 3, 14.2, 1764),
    ("Gemeindehaus", "public", (742, 632), "rectangle", 19, 13, 3, 13.6, 1893),
    ("Alte Mühle", "commercial", (868, 604), "l", 22, 16, 3, 13.1, 1681),
    ("Käserei", "commercial", (905, 682), "rectangle", 18, 12, 2, 9.4, 1887),
    ("Feuerwehrmagazin", "public", (905, 340), "rectangle", 28, 16, 1, 7.2, 1988),
    ("Sägerei Bürki", "industrial", (1110, 330), "l", 62, 38, 1, 9.6, 1961),
    ("Landi Lüttiswil", "commercial", (1180, 335), "rectangle", 44, 28, 1, 8.4, 1997),
    ("Reservoir Rütiwald", "public", (618, 1082), "rectangle", 15, 8, 1, 3.6, 1931),
    ("Marienkapelle", "church", (1478, 925), "rectangle", 7, 12, 1, 9.1, 1703),
]


def _shape(kind, w, d):
    """A footprint with its street side on the u axis, its middle at u = 0."""
    if kind == "l":
        a, b = w * 0.45, d * 0.45
        return Polygon([(-w / 2, 0), (w / 2, 0), (w / 2, b), (-w / 2 + a, b), (-w / 2 + a, d),
                        (-w / 2, d)])
    if kind == "u":
        a, b = w * 0.26, d * 0.4
        return Polygon([(-w / 2, 0), (w / 2, 0), (w / 2, d), (w / 2 - a, d), (w / 2 - a, b),
                        (-w / 2 + a, b), (-w / 2 + a, d), (-w / 2, d)])
    if kind == "court":
        yard = box(-w * 0.2, d * 0.3, w * 0.2, d * 0.7)
        return box(-w / 2, 0, w / 2, d).difference(yard)
    if kind == "church":
        t = d * 0.36
        return Polygon([(-w / 2, d / 2 - t), (-w / 2 + 6.5, d / 2 - t), (-w / 2 + 6.5, 0),
                        (w / 2 - 6, 0), (w / 2, d * 0.3), (w / 2, d * 0.7), (w / 2 - 6, d),
                        (-w / 2 + 6.5, d), (-w / 2 + 6.5, d / 2 + t), (-w / 2, d / 2 + t)])
    return box(-w / 2, 0, w / 2, d)


class Site:
    """A parcel seen from its street: u runs along the street, v away from it."""

    def __init__(self, parcel, street, near=None):
        plot = max(polygons(parcel.geom), key=lambda p: p.area)
        line = street.line if street else LineString([(0, plot.bounds[1] - 5),
                                                      (1600, plot.bounds[1] - 5)])
        front = plot.boundary.intersection(layout.strip(street).boundary.buffer(0.08)) \
            if street else plot.boundary
        middle = plot.boundary.interpolate(plot.boundary.project(
            Point(near) if near else front.centroid))
        at = line.project(middle)
        a, b = line.interpolate(max(at - 4, 0)), line.interpolate(min(at + 4, line.length))
        u = np.array([b.x - a.x, b.y - a.y])
        u = u / np.hypot(*u)
        v = np.array([-u[1], u[0]])
        inner = plot.representative_point()
        if np.dot(v, [inner.x - middle.x, inner.y - middle.y]) < 0:
            u, v = -u, -v
        self.matrix = [u[0], v[0], u[1], v[1], middle.x, middle.y]
        self.plot, self.front, self.used = plot, front.length, []

    def world(self, shape):
        """The shape in the town's coordinates, on the grid of a centimetre."""
        return affinity.affine_transform(shape, self.matrix)

    def place(self, shape, setback, margin, rng, far=False):
        """The shape at the first place near `setback` where it fits, or None."""
        room = self.plot.buffer(-margin, join_style="mitre")
        slide = sorted((k * 1.5 for k in range(-12, 13)), key=abs)
        if far:
            rng.shuffle(slide)
        for back in range(0, 14):
            for du in slide:
                got = self.world(affinity.translate(shape, du, setback + back * 1.5))
                if room.contains(got) and all(got.distance(o) > 1.2 for o in self.used):
                    self.used.append(got)
                    return got
        return None

    def fill(self, setback, depth, width, gap=0.15):
        """An old town house: the plot's own outline, from `setback` to `setback + depth`."""
        band = self.world(box(-width / 2, setback, width / 2, setback + depth))
        inner = self.plot.buffer(-gap, join_style="mitre")
        got = max(polygons(inner.intersection(band)), key=lambda p: p.area, default=None)
        if got is None:
            return None
        got = Polygon(got.exterior).simplify(0.4)
        if not self.plot.covers(got) or got.area < 38 or got.buffer(-2.2).is_empty:
            return None
        self.used.append(got)
        return got


def _date(rng, first, last):
    return f"{rng.randint(first, last)}-{rng.randint(3, 12):02}-{rng.choice((1, 1, 1, 15)):02}"


def _dwelling(parcel, street, site, rng):
    """The main house of a plot in a core or dwelling zone, or None where it stays empty."""
    area, years = site.plot.area, ERAS.get(street.name, (1950, 2010))
    if parcel.zone == "K":
        years = (1690, 1908)
        if rng.random() < 0.07:
            return None
        geom = site.fill(rng.uniform(0.0, 1.2), rng.uniform(9, 13.5), min(site.front + 2, 17))
        levels = rng.choice((2, 2, 3, 3, 3))
        kind = "commercial" if street.kind in ("main", "collector") and rng.random() < 0.3 \
            else "residential"
        built = None if rng.random() < 0.14 else _date(rng, *years)
        return geom and Building(geom, kind, levels, round(levels * 2.7 + rng.uniform(3.2, 5), 1),
                                 built, parcel, street, shape="old")
    if rng.random() < 0.045:
        return None
    if parcel.zone == "W3" and area > 850:
        w, d, levels = rng.uniform(18, 32), rng.uniform(11, 14), rng.choice((3, 3, 4))
        shape, kind, roof = rng.choice(("rectangle", "rectangle", "l")), "apartments", 0.9
        d = d * 1.35 if shape == "l" else d
    else:
        w, d, levels = rng.uniform(10, 14.5), rng.uniform(8.5, 11), rng.choice((1, 2, 2, 2))
        shape = "l" if rng.random() < 0.24 else "rectangle"
        w, d = (w * 1.12, d * 1.3) if shape == "l" else (w, d)
        kind, roof = "residential", rng.uniform(2.2, 3.6)
    for scale in (1, 0.92, 0.84, 0.76, 0.66, 0.58):
        if kind == "residential" and scale < 0.7:
            break
        made = _shape(shape, round(w * scale, 1), round(d * scale, 1))
        if shape == "l" and rng.random() < 0.5:
            made = affinity.scale(made, -1, 1, origin=(0, 0))
        geom = site.place(made, rng.choice((4, 5, 6)), 2.4 if area > 450 else 1.2, rng)
        if geom is not None:
            built = None if rng.random() < 0.03 else _date(rng, *years)
            return Building(geom, kind, levels, round(levels * 2.8 + roof, 1), built, parcel,
                            street, shape=shape)
    return None


def _outbuilding(parcel, street, site, rng, main):
    old = parcel.zone == "K"
    if rng.random() > (0.2 if old else 0.34):
        return None
    w, d = (rng.uniform(4, 6.5), rng.uniform(4, 6)) if old else (rng.choice((3.2, 6.2)), 6.0)
    geom = site.place(_shape("rectangle", round(w, 1), round(d, 1)), 14 if old else 1.5, 0.6,
                      rng, far=True)
    year = int(main.built[:4]) if main.built else 1900
    first = min(max(year, 1930), 2025)
    return geom and Building(geom, "shed" if old else "garage", 1, round(rng.uniform(2.5, 3.3), 1),
                             None if rng.random() < 0.35 else _date(rng, first, min(first + 8, 2025)),
                             parcel, street)


def _halls(parcel, street, site, rng):
    out = []
    for _ in range(3):
        left = site.plot.area * 0.5 - sum(b.geom.area for b in out)
        if left < 250:
            break
        for scale in (1, 0.85, 0.7, 0.55, 0.45):
            w, d = rng.uniform(34, 62) * scale, rng.uniform(24, 40) * scale
            geom = site.place(_shape(rng.choice(("rectangle", "l")), round(w, 1), round(d, 1)),
                              9, 4.5, rng)
            if geom is not None:
                levels = rng.choice((1, 1, 2))
                out.append(Building(geom, "industrial", levels,
                                    round(levels * 4.2 + rng.uniform(1.5, 4), 1),
                                    _date(rng, *ERAS["Industriestrasse"]), parcel, street,
                                    shape="hall"))
                break
    return out


def _farm(parcel, site, rng):
    parts = [("u", "farm", 30, 24, 2, 11.8, (1760, 1880)), ("rectangle", "barn", 26, 13, 1, 9.2,
             (1950, 1990)), ("rectangle", "shed", 12, 8, 1, 4.6, (1975, 2015))]
    out = []
    for shape, kind, w, d, levels, height, years in parts:
        for scale in (1, 0.9, 0.8, 0.65):
            geom = site.place(_shape(shape, w * scale, d * scale), 6, 3, rng)
            if geom is not None:
                out.append(Building(geom, kind, levels, height, _date(rng, *years), parcel,
                                    None, shape=shape))
                break
    if out:
        out[0].name = parcel.special
    return out


def _known(parcels, rng):
    """The houses that everybody knows, each on the parcel where its place is."""
    out = []
    for name, kind, at, shape, w, d, levels, height, year in KNOWN:
        parcel = min((p for p in parcels if not p.way and (not p.buildings or p.zone == "OeN")),
                     key=lambda p: (p.geom.distance(Point(at)), p.geom.area))
        street = parcel.streets[0] if parcel.streets else None
        site = Site(parcel, street, at)
        site.used = [b.geom for b in parcel.buildings]
        for scale in (1, 0.92, 0.85, 0.78, 0.7, 0.6, 0.5, 0.4):
            geom = site.place(_shape(shape, round(w * scale, 1), round(d * scale, 1)), 1, 0.4, rng)
            if geom is not None:
                break
        else:
            raise ValueError(f"{name} does not fit on its parcel at {at}")
        made = Building(geom, kind, levels, height, f"{year}-07-01", parcel, street, name, shape)
        parcel.buildings.append(made)
        out.append(made)
    return out


def build(parcels):
    """All buildings of the municipality; each is also noted on its parcel."""
    rng = random.Random(1291)
    inside = [p for p in parcels if p.inside]
    out = _known(inside, rng)
    for parcel in inside:
        streets = [s for s in parcel.streets if s.name]
        if parcel.buildings or parcel.way or parcel.zone in ("WA", "OeN"):
            continue
        if parcel.special in layout.FARMS:
            made = _farm(parcel, Site(parcel, parcel.streets[0] if parcel.streets else None), rng)
        elif parcel.zone == "LW" or not streets:
            continue
        else:
            site = Site(parcel, streets[0])
            if parcel.zone == "GE":
                made = _halls(parcel, streets[0], site, rng)
            else:
                main = _dwelling(parcel, streets[0], site, rng)
                extra = main and _outbuilding(parcel, streets[0], site, rng, main)
                made = [b for b in (main, extra) if b]
        parcel.buildings += made
        out += made
    plain = [b for b in out if b.kind == "residential" and b.shape == "rectangle" and not b.name]
    for k in range(BOW_TIES):
        plain[(2 * k + 1) * len(plain) // (2 * BOW_TIES)].bow_tie = True
    out.sort(key=lambda b: (b.geom.centroid.x // 100, b.geom.centroid.y))
    for i, b in enumerate(out, 1):
        b.id = f"B{i:04}"
    return out
