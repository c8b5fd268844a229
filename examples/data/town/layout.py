"""Where things lie: the hand-drawn plan from which all else follows.

Coordinates are metres east and north of ORIGIN (EPSG:2056, Swiss LV95).
"""

from dataclasses import dataclass, replace

import numpy as np
from shapely.geometry import LineString, Point, Polygon
from shapely.ops import unary_union

TOWN = "Lüttiswil"
POSTCODE = "3399"
ORIGIN = (2_606_000, 1_213_000)
SIZE = (1600, 1200)


@dataclass(frozen=True)
class Way:
    """A street, track, railway or brook: its centreline and its strip of land.

    `width` is the width of the parcel in metres, `paved` that of the surface.
    """

    name: str | None
    kind: str
    width: float
    paved: float
    surface: str
    oneway: bool
    line: LineString


def smooth(points, step=14.0):
    """A Catmull-Rom curve through `points`, sampled about every `step` metres."""
    p = np.array(points, dtype=float)
    if len(p) < 3:
        return LineString(p)
    ext = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    out = []
    for i in range(len(p) - 1):
        a, b, c, d = ext[i : i + 4]
        n = max(1, int(np.hypot(*(c - b)) / step))
        for k in range(n):
            t = k / n
            out.append(
                0.5
                * (
                    2 * b
                    + (c - a) * t
                    + (2 * a - 5 * b + 4 * c - d) * t**2
                    + (3 * b - a - 3 * c + d) * t**3
                )
            )
    out.append(p[-1])
    return LineString(np.round(np.array(out), 2)).simplify(0.12)


# name, kind, land width, paved width, surface, one-way, points
_WAYS = [
    ("Bahnlinie", "railway", 15, 9, "ballast", False,
     [(-20, 168), (300, 205), (600, 232), (900, 247), (1200, 249), (1620, 232)]),
    ("Lüttibach", "brook", 9, 4, "water", False,
     [(1620, 738), (1450, 700), (1300, 712), (1150, 668), (1010, 626), (900, 598), (800, 560),
      (690, 546), (560, 500), (430, 468), (300, 412), (160, 386), (80, 345), (-20, 325)]),
    ("Bernstrasse", "main", 11, 7.5, "asphalt", False,
     [(-20, 462), (90, 488), (180, 515), (340, 562), (395, 576), (500, 602), (620, 632)]),
    ("Hauptstrasse", "main", 10, 7, "asphalt", False,
     [(620, 632), (660, 641), (720, 648), (755, 656), (800, 668), (880, 700)]),
    ("Solothurnstrasse", "main", 11, 7.5, "asphalt", False,
     [(880, 700), (1000, 752), (1155, 800), (1320, 818), (1450, 828), (1620, 858)]),
    ("Bahnhofstrasse", "collector", 9, 6.5, "asphalt", False,
     [(755, 656), (768, 612), (779, 550), (789, 450), (798, 365), (804, 280)]),
    ("Oberdorfstrasse", "collector", 8, 6, "asphalt", False,
     [(800, 668), (812, 722), (833, 785), (852, 832), (870, 880), (880, 945)]),
    ("Industriestrasse", "collector", 10, 7, "asphalt", False,
     [(798, 365), (950, 378), (1100, 386), (1250, 388), (1340, 425), (1375, 545)]),
    ("Brückenweg", "collector", 8, 6, "asphalt", False,
     [(1375, 545), (1384, 620), (1388, 705), (1384, 822)]),
    ("Sägeweg", "residential", 7, 5, "asphalt", False,
     [(785, 492), (900, 505), (1010, 522), (1120, 556), (1240, 568), (1375, 545)]),
    ("Schulweg", "residential", 7, 5, "asphalt", False, [(1010, 522), (1024, 450), (1020, 382)]),
    ("Mattenstrasse", "residential", 7, 5, "asphalt", False,
     [(789, 452), (660, 428), (540, 396), (430, 362), (330, 322)]),
    ("Gartenweg", "residential", 6.5, 5, "asphalt", False,
     [(798, 365), (680, 344), (560, 314), (480, 292), (428, 310), (430, 362)]),
    ("Rosenweg", "residential", 6, 4.5, "asphalt", False, [(660, 428), (680, 344)]),
    ("Nelkenweg", "residential", 6, 4.5, "asphalt", False, [(540, 396), (560, 314)]),
    ("Rebenweg", "residential", 7, 5, "asphalt", False,
     [(833, 785), (740, 792), (672, 778), (540, 744), (452, 700), (402, 640), (395, 576)]),
    ("Sonnenrain", "residential", 7, 5, "asphalt", False,
     [(868, 872), (760, 872), (640, 852), (520, 822), (436, 776), (452, 700)]),
    ("Höhenweg", "residential", 6.5, 5, "asphalt", False,
     [(878, 935), (760, 946), (640, 932), (550, 900), (520, 822)]),
    ("Lindenweg", "residential", 7, 5, "asphalt", False,
     [(852, 832), (950, 858), (1060, 884), (1140, 880), (1155, 800)]),
    ("Bergstrasse", "residential", 7, 5, "asphalt", False,
     [(877, 920), (980, 948), (1090, 966), (1190, 958), (1240, 900), (1252, 811)]),
    ("Ahornweg", "residential", 6, 4.5, "asphalt", False, [(1060, 884), (1090, 966)]),
    ("Kirchgasse", "lane", 5.5, 4.5, "cobblestone", False,
     [(714, 648), (706, 678), (688, 704), (672, 740), (672, 778)]),
    ("Hintergasse", "lane", 5, 4, "cobblestone", True,
     [(634, 636), (652, 680), (688, 704), (750, 713), (811, 718)]),
    ("Schmiedgasse", "lane", 5, 4, "cobblestone", True,
     [(866, 694), (858, 728), (845, 745), (823, 757)]),
    ("Krongässli", "lane", 4, 3, "cobblestone", True, [(764, 658), (757, 684), (750, 713)]),
    ("Mühlegasse", "lane", 5.5, 4.5, "cobblestone", False,
     [(797, 667), (826, 640), (868, 616), (925, 634), (960, 668), (958, 735)]),
    ("Gerbergasse", "lane", 5, 4, "cobblestone", True,
     [(652, 640), (658, 602), (690, 576), (735, 582), (772, 594)]),
    ("Sonnhalde", "service", 5, 4, "asphalt", False, [(700, 862), (706, 905)]),
    ("Am Bach", "service", 5, 4, "asphalt", False, [(600, 412), (586, 452), (520, 440)]),
    ("Güterstrasse", "service", 8, 6, "asphalt", False,
     [(803, 288), (900, 283), (1060, 287), (1200, 290), (1215, 387)]),
    (None, "track", 5, 3, "gravel", False,
     [(804, 280), (808, 200), (830, 120), (846, 60), (850, -20)]),
    (None, "track", 4.5, 3, "gravel", False,
     [(829, 122), (600, 120), (350, 104), (150, 92), (-20, 84)]),
    (None, "track", 4.5, 3, "gravel", False,
     [(833, 110), (1100, 134), (1350, 126), (1620, 152)]),
    (None, "track", 4.5, 3, "gravel", False, [(330, 322), (220, 290), (100, 262), (-20, 255)]),
    (None, "track", 4.5, 3, "gravel", False, [(436, 776), (300, 796), (150, 776), (-20, 805)]),
    (None, "track", 4.5, 3, "gravel", False,
     [(300, 796), (330, 900), (305, 1050), (318, 1220)]),
    (None, "track", 4.5, 3, "gravel", False,
     [(880, 945), (872, 1030), (830, 1110), (800, 1220)]),
    (None, "track", 4.5, 3, "gravel", False,
     [(1190, 958), (1330, 985), (1460, 1000), (1620, 1032)]),
    (None, "track", 4.5, 3, "gravel", False, [(1384, 822), (1400, 900), (1400, 996)]),
    (None, "track", 4, 3, "gravel", False, [(120, 497), (140, 640), (150, 776)]),
    (None, "track", 4, 3, "gravel", False,
     [(1375, 545), (1450, 520), (1530, 470), (1620, 452)]),
]
RANK = {"railway": 0, "main": 1, "collector": 2, "residential": 3, "lane": 4,
        "service": 5, "track": 6, "brook": 7}


VILLAGE = ("residential", "lane", "collector", "service")


def ways():
    """All ways, the one that owns a crossing first; side streets end on the street they meet."""
    made = [Way(n, k, w, p, s, o, smooth(pts)) for n, k, w, p, s, o, pts in _WAYS]
    made.sort(key=lambda w: (RANK[w.kind], -w.width))
    joined = []
    for way in made:
        coords = list(way.line.coords)
        for end in (0, -1):
            near = [o.line for o in joined if o.kind not in ("railway", "brook")
                    and o.line.distance(Point(coords[end])) < 9]
            if near:
                line = min(near, key=lambda g: g.distance(Point(coords[end])))
                at = line.interpolate(line.project(Point(coords[end])))
                coords[end] = (round(at.x, 2), round(at.y, 2))
        joined.append(replace(way, line=LineString(coords)))
    return joined


def strip(way, width=None):
    """The land of a way: its centreline widened, with mitred corners."""
    w = (width or way.width) / 2
    return way.line.buffer(w, cap_style="flat", join_style="mitre", mitre_limit=2)


SQUARE = Polygon([(736, 646), (770, 655), (776, 676), (752, 682), (738, 672)])  # Kronenplatz
EXTENT = Polygon([(0, 0), (SIZE[0], 0), SIZE, (0, SIZE[1])])
MUNICIPALITY = Polygon(
    [(44, 122), (28, 300), (62, 420), (34, 600), (72, 790), (52, 960), (124, 1128), (300, 1172),
     (520, 1150), (760, 1178), (1000, 1158), (1180, 1172), (1400, 1132), (1540, 1080),
     (1568, 900), (1545, 720), (1576, 540), (1560, 330), (1581, 150), (1480, 42), (1200, 30),
     (900, 52), (640, 26), (380, 46), (180, 62)]
)
CORE = Polygon(
    [(615, 612), (640, 585), (690, 552), (770, 556), (880, 604), (945, 618), (985, 672),
     (968, 738), (900, 722), (868, 776), (800, 778), (690, 766), (642, 742), (618, 690)]
)
INDUSTRY = Polygon(
    [(822, 240), (1292, 240), (1400, 330), (1392, 500), (1378, 548), (1330, 470), (1300, 440),
     (1210, 448), (1120, 446), (1022, 440), (1018, 372), (880, 366), (816, 362)]
)
PUBLIC = Polygon([(1024, 452), (1118, 452), (1124, 552), (1012, 516)])  # school
CHURCHYARD = Polygon([(626, 708), (668, 716), (664, 764), (618, 748)])


def forests():
    """The wood on the hill in the north, and the small one in the south-east."""
    north = smooth(
        [(190, 1260), (215, 1150), (280, 1085), (390, 1040), (520, 1018), (650, 1030),
         (760, 1012), (850, 1046), (960, 1052), (1080, 1086), (1150, 1140), (1190, 1260)], 25)
    south = smooth([(1330, -60), (1352, 30), (1410, 84), (1490, 92), (1560, 112), (1660, 104)], 25)
    west = smooth([(-60, 690), (40, 684), (86, 640), (72, 580), (10, 556), (-60, 560)], 25)
    return unary_union(
        [Polygon(north.coords), Polygon([*south.coords, (1660, -60)]), Polygon(west.coords)]
    )


def settlement(all_ways):
    """What may be built on: the ground within a house and a garden of a village street."""
    streets = [w for w in all_ways if w.kind in VILLAGE and w.name != "Brückenweg"]
    near = unary_union([w.line.buffer(40) for w in streets])
    main = [w.line for w in all_ways if w.kind == "main"]
    along = unary_union(main).intersection(Polygon([(395, 500), (1260, 500), (1260, 900), (395, 900)]))
    ground = unary_union([near, along.buffer(40), INDUSTRY, CORE, PUBLIC])
    rail = next(w for w in all_ways if w.kind == "railway").line
    north_of_rail = Polygon([*rail.coords, (1620, 1300), (-20, 1300)])
    ground = ground.intersection(north_of_rail)
    ground = ground.buffer(24).buffer(-48).buffer(24)
    ground = max(getattr(ground, "geoms", [ground]), key=lambda g: g.area)
    return Polygon(ground.exterior).simplify(2.5)


def enclaves():
    """Parcels that lie wholly inside another: a reservoir in the wood, a chapel in a field."""
    def box(x, y, w, h, turn):
        c, s = np.cos(turn), np.sin(turn)
        corners = [(-w, -h), (w, -h), (w, h), (-w, h)]
        return Polygon([(x + a * c - b * s, y + a * s + b * c) for a, b in corners])
    return {"Reservoir": box(618, 1082, 13, 9, 0.2), "Kapelle": box(1478, 925, 9, 12, 0.35)}


FARMS = {  # farmyards; the side towards the road overlaps it and is cut off there
    "Bachhof": Polygon([(1384, 852), (1462, 868), (1454, 924), (1396, 908)]),
    "Moosmatthof": Polygon([(240, 790), (296, 790), (310, 866), (246, 868)]),
    "Weidhof": Polygon([(226, 284), (300, 305), (290, 366), (222, 350)]),
    "Südhof": Polygon([(836, 105), (925, 112), (920, 178), (838, 172)]),
    "Grosshof": Polygon([(120, 522), (204, 540), (196, 594), (126, 576)]),
}
FIELD_NAMES = [  # Flurnamen by a point near the middle
    ("Moosmatt", (180, 880)), ("Bännli", (160, 650)), ("Grosszelg", (250, 640)),
    ("Weidli", (180, 330)), ("Chrüzacher", (250, 150)), ("Südfeld", (600, 80)),
    ("Längacher", (1050, 70)), ("Gäuchmatt", (600, 180)), ("Schürmatt", (1050, 190)),
    ("Höhi", (450, 960)), ("Rütiwald", (650, 1100)), ("Bärgacher", (1250, 1040)),
    ("Chapelenfeld", (1450, 930)), ("Brüel", (1480, 770)), ("Erlenmatt", (1200, 640)),
    ("Sägimatt", (1480, 600)), ("Ägerten", (1480, 330)), ("Tannwäldli", (1470, 50)),
    ("Bachmatt", (480, 540)), ("Dorf", (760, 660)), ("Sonnenrain", (650, 850)),
    ("Oberdorf", (1000, 900)), ("Mättli", (620, 390)), ("Büelrain", (380, 720)),
]


def field_name(point: Point) -> str:
    """The name of the ground at `point`: that of the nearest named place."""
    return min(FIELD_NAMES, key=lambda f: point.distance(Point(f[1])))[0]
