"""The lists of a town hall: parcel numbers, addresses, roads and hydrants."""

import random

import shapely
from shapely.geometry import LineString, MultiPolygon, Point
from shapely.ops import substring

from . import layout
from .cadastre import Parcel, polygons
from .terrain import height

# Land on both sides of the railway that is one parcel, by a point in each part.
ESTATE = [(420, 235), (400, 175)]
RESERVOIR_LEVEL = 598.0  # of the water that stands in the reservoir, m above sea level


def number(parcels):
    """The municipality's parcels, numbered; brook and estate are joined to multipolygons."""
    inside = [p for p in parcels if p.inside]
    brook = [p for p in inside if p.zone == "GW"]
    estate = [next(p for p in inside if p.zone == "LW" and p.geom.contains(Point(at)))
              for at in ESTATE]
    for group in (brook, estate):
        parts = [g for p in group for g in polygons(p.geom)]
        joined = Parcel(shapely.normalize(MultiPolygon(parts)), group[0].zone, True,
                        way=group[0].way, streets=group[0].streets)
        inside = [p for p in inside if not any(p is q for q in group)] + [joined]

    def key(p):
        c = p.geom.centroid
        column = int(c.x // 160)
        return (p.zone in ("V", "GW"), column, c.y if column % 2 else -c.y)

    inside.sort(key=key)
    rng, n = random.Random(42), 0
    for p in inside:
        n += 1 if rng.random() < 0.9 else rng.randint(2, 4)  # numbers of parcels that are gone
        p.number = f"{n:04}"
        digits = f"{(n * 7_368_787 + 350_600_017) % 10**10:010}"
        p.egrid = "CH" + digits + f"{int(digits) % 97:02}"
        named = [s.name for s in p.streets if s.name]
        p.street = p.way.name if p.way else (named[0] if named else None)
        if p.zone in ("LW", "WA"):
            p.street = None
    return inside


def _offset(line, at):
    """Chainage of `at` along the line in metres, and whether it lies on its left."""
    d = line.project(at)
    a, b = line.interpolate(max(d - 3, 0)), line.interpolate(min(d + 3, line.length))
    cross = (b.x - a.x) * (at.y - a.y) - (b.y - a.y) * (at.x - a.x)
    return d, cross > 0


def addresses(buildings, ways):
    """Each house's address: odd numbers on the left of its street, even on the right."""
    houses = [b for b in buildings if b.kind not in ("garage", "shed", "barn")
              and b.name not in ("Reservoir Rütiwald", "Marienkapelle")]
    sides, out = {}, []
    for b in houses:
        farm = b.parcel.special
        if b.street is None and farm is None:
            b.street = min((w for w in ways if w.name and w.kind in layout.VILLAGE),
                           key=lambda w: w.line.distance(b.geom))
        if b.street is None or not b.street.name:
            out.append({"parcel": b.parcel, "building": b, "street": farm or "Dorf", "number": "1",
                        "point": b.geom.representative_point()})
            continue
        d, left = _offset(b.street.line, b.geom.centroid)
        sides.setdefault((b.street.name, left), []).append((d, b))
    for (street, left), row in sorted(sides.items()):
        slot, before = -1, None
        for d, b in sorted(row, key=lambda r: r[0]):
            suffix = ""
            if before is not None and before.parcel is b.parcel:
                suffix = "a"
            else:
                slot = max(slot + 1, int(d / 26) if b.parcel.zone != "K" else slot + 1)
            taken = {a["number"] for a in out if a["street"] == street}
            base = 2 * slot + (1 if left else 2)
            label = f"{base}{suffix}"
            while label in taken:
                suffix = chr(ord(suffix or "`") + 1)
                label = f"{base}{suffix}"
            near = shapely.shortest_line(b.geom, b.street.line)
            door = Point(near.coords[0])
            inner = b.geom.representative_point()
            step = min(1.2 / max(door.distance(inner), 0.1), 1)
            point = Point(door.x + (inner.x - door.x) * step, door.y + (inner.y - door.y) * step)
            out.append({"parcel": b.parcel, "building": b, "street": street, "number": label,
                        "point": point if b.geom.contains(point) else inner})
            before = b
    for a in out:
        a["postcode"], a["town"] = layout.POSTCODE, layout.TOWN

    def key(a):
        digits = "".join(c for c in a["number"] if c.isdigit())
        return a["street"], int(digits), a["number"]

    return sorted(out, key=key)


def _speed(way, middle):
    if way.kind == "track":
        return None
    if way.kind == "main":
        return 50 if 380 < middle.x < 1300 else 80
    return {"collector": 50, "lane": 20}.get(way.kind, 30)


def roads(ways):
    """The road network, one line from junction to junction, within the municipality."""
    streets = [w for w in ways if w.kind not in ("railway", "brook")]
    out = []
    for way in streets:
        cuts = {0.0, way.line.length}
        for other in streets:
            if other is way:
                continue
            for end in (other.line.coords[0], other.line.coords[-1]):
                if way.line.distance(Point(end)) < 0.05:
                    cuts.add(way.line.project(Point(end)))
            for p in shapely.get_parts(way.line.intersection(other.line)):
                if p.geom_type == "Point":
                    cuts.add(way.line.project(p))
        marks = sorted(cuts)
        for a, b in zip(marks, marks[1:]):
            if b - a < 1:
                continue
            piece = substring(way.line, a, b).intersection(layout.MUNICIPALITY)
            for line in shapely.get_parts(piece):
                if line.length < 1:
                    continue
                middle = line.interpolate(0.5, normalized=True)
                out.append({"line": LineString([(round(x, 2), round(y, 2)) for x, y in line.coords]),
                            "class": way.kind, "name": way.name, "width": way.paved,
                            "oneway": way.oneway, "surface": way.surface,
                            "maxspeed": _speed(way, middle)})
    for i, r in enumerate(out, 1):
        r["road_id"] = f"R{i:04}"
    return out


def hydrants(ways):
    """Hydrants along the streets; static pressure follows from the reservoir's level."""
    rng, out = random.Random(118), []
    for way in ways:
        if way.kind in ("railway", "brook", "track"):
            continue
        at, left = 22.0, True
        while at < way.line.length:
            side = way.line.offset_curve((way.paved / 2 + 0.7) * (1 if left else -1))
            p = side.interpolate(side.project(way.line.interpolate(at)))
            far = all(p.distance(h["point"]) > 62 for h in out)
            if far and 350 < p.x < 1430 and layout.MUNICIPALITY.contains(p):
                out.append({"point": p, "street": way.name})
                left = not left
            at += 12
    for farm, yard in layout.FARMS.items():
        out.append({"point": Point(yard.exterior.coords[0]).buffer(9).exterior.interpolate(3),
                    "street": farm})
    for i, h in enumerate(out, 1):
        p = h["point"]
        head = RESERVOIR_LEVEL - float(height(ways, p.x, p.y))
        bar = max(head / 10.2 - rng.uniform(0.05, 0.35), 0.8)
        status = rng.choices(("in_service", "maintenance", "out_of_service"), (92, 5, 3))[0]
        tested = status != "out_of_service"
        diameter = rng.choice((100, 125, 125, 150))
        day = f"{rng.choice((2022, 2023, 2024, 2024, 2025, 2025))}-{rng.randint(4, 10):02}-" \
              f"{rng.randint(1, 28):02}"
        h.update(
            hydrant_id=f"H-{i:03}", status=status, diameter_mm=diameter,
            type="Unterflurhydrant" if rng.random() < 0.22 else "Überflurhydrant",
            pressure_bar=round(bar, 1) if tested else None,
            flow_l_min=round(diameter * 9 * (bar / 6) ** 0.5 * rng.uniform(0.9, 1.1) / 10) * 10
            if tested else None,
            last_inspection=None if rng.random() < 0.05 else day)
    return out
