"""The parcels: a planar subdivision of the ground, without gaps or overlaps.

Blocks are what the ways leave over, cut along the edges of zones; each block
is divided until its plots have the size that is usual in their zone. In the
end all edges are noded together on a grid of one centimetre, so that
neighbours share their vertices exactly.
"""

import random
from dataclasses import dataclass, field

import numpy as np
import shapely
from shapely import STRtree
from shapely.geometry import MultiPolygon, Polygon
from shapely.ops import polygonize, unary_union

from . import layout

GRID = 0.01
# zone: usual plot size in m², least frontage in m, least width in m
PLOTS = {"K": (430, 5, 8), "W2": (800, 8, 15), "W3": (1150, 10, 20), "GE": (5200, 20, 30),
         "OeN": (4000, 15, 30), "LW": (17000, 10, 35), "WA": (36000, 0, 60)}
ZONE_NAMES = {"K": "Kernzone", "W2": "Wohnzone zweigeschossig", "W3": "Wohnzone dreigeschossig",
              "GE": "Gewerbezone", "OeN": "Zone für öffentliche Nutzungen",
              "LW": "Landwirtschaftszone", "WA": "Wald", "V": "Verkehrsfläche",
              "GW": "Gewässer"}


@dataclass
class Parcel:
    """One parcel; `streets` are the ways it fronts, the longest frontage first."""

    geom: Polygon | MultiPolygon
    zone: str
    inside: bool
    way: layout.Way | None = None
    special: str | None = None
    streets: list = field(default_factory=list)
    number: str = ""
    egrid: str = ""
    street: str | None = None
    owner: str = ""
    buildings: list = field(default_factory=list)


def polygons(geom):
    """The polygons of whatever an overlay gave back."""
    if geom.is_empty:
        return []
    if geom.geom_type == "Polygon":
        return [geom]
    return [p for g in getattr(geom, "geoms", []) for p in polygons(g)]


def _way_land(ways):
    """The land of each way, crossings given to the more important one."""
    taken, land = Polygon(), []
    for way in ways:
        strip = layout.strip(way)
        if way.name == "Hauptstrasse":
            strip = strip.union(layout.SQUARE)
        if way.kind == "railway":  # the station's yard
            strip = strip.union(way.line.intersection(
                Polygon([(700, 0), (1010, 0), (1010, 400), (700, 400)])).buffer(
                    13, cap_style="flat", join_style="mitre"))
        mine = strip.difference(taken).intersection(layout.EXTENT)
        taken = taken.union(strip)
        land.append((way, [p for p in polygons(mine) if p.area > 25]))
    return land


def _zone(point, town, forest):
    if forest.contains(point):
        return "WA"
    if layout.CHURCHYARD.contains(point) or layout.PUBLIC.contains(point):
        return "OeN"
    if layout.CORE.contains(point):
        return "K"
    if not town.contains(point):
        return "LW"
    if layout.INDUSTRY.contains(point):
        return "GE"
    return "W3" if point.y < 560 and 790 < point.x < 1400 else "W2"


def _merge_slivers(faces):
    """Joins pieces too small or thin to be a parcel to the neighbour they share most with."""
    faces = sorted(faces, key=lambda f: (f.area, f.centroid.x))
    done = []
    while faces:
        face = faces.pop(0)
        if face.area > 260 and not face.buffer(-4.5).is_empty:
            done.append(face)
            continue
        tree = faces + done
        shared = [face.boundary.intersection(o.boundary).length for o in tree]
        best = int(np.argmax(shared)) if shared else -1
        if best < 0 or shared[best] < 1:
            done.append(face)
            continue
        other = tree[best]
        (faces if best < len(faces) else done).remove(other)
        faces.append(unary_union([face, other]))
        faces.sort(key=lambda f: (f.area, f.centroid.x))
    return done


def _half(poly, origin, normal):
    """The half plane on the side of `origin` that `normal` points to, as a large polygon."""
    t = np.array([-normal[1], normal[0]]) * 5000
    n = normal * 5000
    return Polygon([origin - t, origin + t, origin + t + n, origin - t + n])


def _divide(poly, zone, frontage, rng):
    """Cuts a block across its longer side until its plots are of usual size."""
    size, least_front, least_width = PLOTS[zone]
    if poly.area < size * rng.uniform(1.15, 1.75):
        return [poly]
    corners = np.array(poly.minimum_rotated_rectangle.exterior.coords)[:4]
    a, b = corners[1] - corners[0], corners[2] - corners[1]
    if np.hypot(*a) < np.hypot(*b):
        a, b = b, a
    centre = corners.mean(axis=0)
    turn = rng.gauss(0, 0.09 if zone == "K" else 0.02)
    axes = [a, b] if zone != "LW" or rng.random() < 0.6 or np.hypot(*b) < 110 else [b, a]
    for tries in range(6):
        axis = axes[0] if tries < 3 else axes[1]
        length = np.hypot(*axis)
        n = axis / length
        n = np.array([n[0] * np.cos(turn) - n[1] * np.sin(turn),
                      n[0] * np.sin(turn) + n[1] * np.cos(turn)])
        at = centre + n * length * rng.uniform(-0.12, 0.12)
        parts = [p for s in (1, -1) for p in polygons(poly.intersection(_half(poly, at, n * s)))]
        if min(p.area for p in parts) < size * 0.42:
            continue
        if any(p.buffer(-least_width / 2).is_empty for p in parts):
            continue
        if least_front and any(p.boundary.intersection(frontage).length < least_front
                               for p in parts):
            continue
        return [q for p in parts for q in _divide(p, zone, frontage, rng)]
    return [poly]


def _node(pieces, extra):
    """One clean coverage of all pieces: every edge noded and rounded to the grid."""
    lines = [p.boundary for p, _ in pieces] + extra
    noded = shapely.unary_union(lines, grid_size=GRID)
    tree = STRtree([p for p, _ in pieces])
    groups = {}
    for face in polygonize(noded):
        point = face.representative_point()
        hits = [i for i in tree.query(point) if pieces[i][0].covers(point)]
        if hits:
            groups.setdefault(min(hits), []).append(face)
    out = []
    for i in sorted(groups):
        joined = shapely.unary_union(groups[i], grid_size=GRID)
        out += [(p, pieces[i][1]) for p in polygons(joined)]
    return out


def _orient(geom):
    """Outer rings clockwise from a fixed start, as Shapefiles have them."""
    return shapely.normalize(geom)


def build(ways):
    """All parcels of the extent, those of the municipality marked `inside`."""
    rng = random.Random(2056)
    forest, town = layout.forests(), layout.settlement(ways)
    land = _way_land(ways)
    strips = unary_union([p for _, ps in land for p in ps])
    solid = [w for w in ways if w.kind not in ("brook", "railway")]
    frontage = unary_union([layout.strip(w) for w in solid]).buffer(0.05)
    named = unary_union([layout.strip(w) for w in solid if w.name]).buffer(0.05)
    yards = {n: max(polygons(g.difference(strips)), key=lambda f: f.area)
             for n, g in layout.FARMS.items()}
    farms = unary_union(list(yards.values()))
    islands = unary_union(list(layout.enclaves().values()))

    pieces = [(p, ("way", w)) for w, ps in land for p in ps]
    border = layout.MUNICIPALITY.boundary
    for block in polygons(layout.EXTENT.difference(strips).difference(farms)):
        zones = [town, forest, layout.CORE, layout.PUBLIC, layout.CHURCHYARD, layout.MUNICIPALITY]
        zones += [layout.INDUSTRY.intersection(town)]
        lines = unary_union([block.boundary] + [z.boundary for z in zones])
        for face in _merge_slivers([f for f in polygonize(lines)
                                    if block.contains(f.representative_point())]):
            zone = _zone(face.representative_point(), town, forest)
            near = frontage if zone in ("LW", "WA", "OeN") else named
            pieces += [(q.difference(islands), ("plot", zone))
                       for q in _divide(face, zone, near, rng)]
    pieces += [(g, ("farm", n)) for n, g in yards.items()]
    pieces += [(g, ("enclave", n)) for n, g in layout.enclaves().items()]
    return _parcels(_node(pieces, [border]), ways)


def _parcels(pieces, ways):
    parcels = []
    for geom, (kind, what) in pieces:
        inside = layout.MUNICIPALITY.contains(geom.representative_point())
        cut = polygons(shapely.intersection(geom, layout.MUNICIPALITY, grid_size=GRID)) \
            if kind == "way" else [geom]
        if kind == "way":
            out = polygons(shapely.difference(geom, layout.MUNICIPALITY, grid_size=GRID))
            zone = "GW" if what.kind == "brook" else "V"
            parcels += [Parcel(_orient(g), zone, True, way=what) for g in cut if g.area > 1]
            parcels += [Parcel(_orient(g), zone, False, way=what) for g in out if g.area > 1]
        elif kind == "plot":
            parcels.append(Parcel(_orient(geom), what, inside))
        else:
            zone = "LW" if kind == "farm" else "OeN"
            parcels.append(Parcel(_orient(geom), zone, inside, special=what))
    _front(parcels, ways)
    return parcels


def _front(parcels, ways):
    """Notes for each plot which ways it fronts."""
    strips = [(w, layout.strip(w).boundary.buffer(0.08)) for w in ways
              if w.kind not in ("brook", "railway")]
    tree = STRtree([s for _, s in strips])
    for p in parcels:
        if p.way:
            continue
        shared = []
        for i in sorted(tree.query(p.geom)):
            length = p.geom.boundary.intersection(strips[i][1]).length
            if length > 2.5:
                shared.append((-length, i))
        p.streets = [strips[i][0] for _, i in sorted(shared)]
