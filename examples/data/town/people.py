"""Who owns what. All names and numbers are invented."""

import random
from fractions import Fraction

from . import layout
from .cadastre import ZONE_NAMES

FAMILIES = """Müller Bürki Lüthi Zürcher Bähler Käser Schär Gäumann Röthlisberger Hänni Flückiger
Jäggi Kühni Wälti Möri Nyffenegger Aeschbacher Baumgartner Liechti Stucki Wüthrich Zbinden
Ramseier Iseli Rüfenacht Glauser Marti Affolter Hofer Schüpbach Perrenoud Béguelin Châtelain
Zimmermann Ferrari Çelik Nuñez Krähenbühl Stämpfli Lehmann Tschanz Häberli Moser""".split()
GIVEN = """Käthi Jürg Ursula Hansruedi Zoë René Françoise Ruedi Elsbeth Anaïs Björn Rösli Thomas
Nicole Sébastien Margrit Ueli Therese Beat Silvia Noël Heidi Markus Claudia Stefan Regula Urs
Verena Daniel Brigitte Loïc Andrea Köbi Hélène Lars Jasmin Adrian Sandra""".split()
FIRMS = ["Sägerei Bürki AG", "Landi Lüttiswil Genossenschaft", "Gebrüder Kühni Metallbau GmbH",
         "Präzisa Drehteile AG", "Hänni Fensterbau AG", "Kältetechnik Stämpfli AG",
         "Müller & Söhne Transporte AG", "Bäckerei-Grosshandel Jäggi AG", "Elektro Wälti AG",
         "Immo Mättli AG"]
COMMUNE = "Einwohnergemeinde Lüttiswil"
SEATS = {"Mittellandbahn AG": ("Bahnhofplatz 3", "3400", "Burgdorf"),
         "Staat Bern": ("Postfach", "3001", "Bern")}
ELSEWHERE = [("3400", "Burgdorf"), ("3012", "Bern"), ("8001", "Zürich"), ("1003", "Lausanne"),
             ("2502", "Biel/Bienne"), ("4500", "Solothurn"), ("3303", "Jegenstorf")]


class Share:
    """One owner's part of one parcel."""

    def __init__(self, parcel, name, part, address, since):
        self.parcel, self.name, self.part = parcel, name, part
        self.street, self.postcode, self.place = address
        self.since = since


def _couple(rng):
    family = rng.choice(FAMILIES)
    a, b = rng.sample(GIVEN, 2)
    return [f"{family}, {a}", f"{family}, {b}"]


def _owners(parcel, rng, farmers):
    """Names with their parts of 1, which add up to 1."""
    if parcel.way:
        if parcel.way.kind == "railway":
            return [("Mittellandbahn AG", Fraction(1))]
        state = parcel.way.kind in ("main", "brook")
        return [("Staat Bern" if state else COMMUNE, Fraction(1))]
    if parcel.zone == "OeN":
        church = any(b.kind == "church" or b.name == "Pfarrhaus" for b in parcel.buildings)
        return [("Reformierte Kirchgemeinde Lüttiswil" if church else COMMUNE, Fraction(1))]
    if parcel.zone == "WA":
        return [("Burgergemeinde Lüttiswil", Fraction(1))]
    if parcel.zone == "LW":
        near = min(farmers, key=lambda f: parcel.geom.distance(layout.FARMS[f]))
        if rng.random() < 0.12:
            return [("Burgergemeinde Lüttiswil", Fraction(1))]
        return [(n, Fraction(1, 2)) for n in farmers[near]]
    if parcel.zone == "GE":
        names = [b.name for b in parcel.buildings if b.name]
        known = [f for f in FIRMS if names and f.startswith(names[0])]
        if names and not known:
            return [(COMMUNE, Fraction(1))]
        return [((known or [rng.choice(FIRMS[2:])])[0], Fraction(1))]
    if any(b.kind == "apartments" for b in parcel.buildings):
        if rng.random() < 0.35:
            return [(rng.choice(("Pensionskasse Mittelland", "Immo Mättli AG")), Fraction(1))]
        left, out = 1000, []
        for i in range(rng.randint(3, 6), 0, -1):  # condominium: shares in thousandths
            part = left if i == 1 else round(left / i * rng.uniform(0.85, 1.15) / 5) * 5
            out.append((f"{rng.choice(FAMILIES)}, {rng.choice(GIVEN)}", Fraction(part, 1000)))
            left -= part
        return out
    lot = rng.random()
    if lot < 0.55:
        return [(n, Fraction(1, 2)) for n in _couple(rng)]
    if lot < 0.62:  # heirs
        family, n = rng.choice(FAMILIES), rng.choice((3, 4))
        return [(f"{family}, {g}", Fraction(1, n)) for g in rng.sample(GIVEN, n)]
    return [(f"{rng.choice(FAMILIES)}, {rng.choice(GIVEN)}", Fraction(1))]


def assign(parcels, addresses):
    """Gives each parcel of the municipality its owners; the shares, in order of parcels."""
    rng = random.Random(1848)
    farmers = {f: _couple(rng) for f in layout.FARMS}
    farmhouse = {n: (f"{f} 1", layout.POSTCODE, layout.TOWN)
                 for f, names in farmers.items() for n in names}
    hall = next((f"{a['street']} {a['number']}", a["postcode"], a["town"]) for a in addresses
                if a["building"].name == "Gemeindehaus")
    home = {}
    for a in addresses:
        home.setdefault(id(a["parcel"]), (f"{a['street']} {a['number']}", a["postcode"], a["town"]))
    shares = []
    for p in parcels:
        owners = _owners(p, rng, farmers)
        public = owners[0][0] == COMMUNE or p.zone in ("V", "GW", "WA")
        years = (1912, 1975) if public else (1971, 2025)
        since = f"{rng.randint(1, 28):02}.{rng.randint(1, 12):02}.{rng.randint(*years)}"
        for name, part in owners:
            here = home.get(id(p))
            if public or name.endswith("Lüttiswil"):
                address = hall
            elif here and rng.random() < 0.86:
                address = here
            else:
                street = rng.choice(("Bahnhofstrasse", "Hauptstrasse", "Rue du Marché",
                                     "Mühlemattstrasse", "Zürichstrasse"))
                address = (f"{street} {rng.randint(1, 120)}", *rng.choice(ELSEWHERE))
            if name in SEATS:
                address = SEATS[name]
            elif name in farmhouse:
                address = farmhouse[name]
            shares.append(Share(p, name, part, address, since))
        names = [n for n, _ in owners]
        if len(names) == 2 and names[0].split(", ")[0] == names[1].split(", ")[0]:
            p.owner = f"{names[0]} und {names[1].split(', ')[1]}"
        else:
            p.owner = names[0] if len(names) == 1 else f"{names[0]} und {len(names) - 1} weitere"
    return shares


# As an old land register exports them: a repeated name, an empty one, symbols, spaces.
HEADER = [" Parz.-Nr. ", "Eigentümer/in", "Anteil", "Anteil (%)", "Strasse & Nr.", "PLZ", "Ort",
          "Ort", "Fläche [m²]", "Zone (gem. Plan)", "seit", "", "Bemerkung / Notiz"]


def register(shares):
    """Rows of owners.csv as text, and how many flaws of each kind they hold."""
    rng = random.Random(1912)
    parcels = sorted({id(s.parcel): s.parcel for s in shares}.values(), key=lambda p: p.number)
    plots = [p for p in parcels if p.zone in ("W2", "LW")]
    missing = set(map(id, rng.sample(plots, 4)))
    flaws = {"parcels without an owner's row": len(missing), "keys with spaces": 0,
             "rows of parcels that no longer exist": 2}
    rows = []
    for s in shares:
        if id(s.parcel) in missing:
            continue
        key = s.parcel.number
        if rng.random() < 0.06:
            key = rng.choice((key + " ", " " + key, "  " + key + " "))
            flaws["keys with spaces"] += 1
        area = f"{round(s.parcel.geom.area):,}".replace(",", "'")
        note = rng.choice(("Wegrecht zugunsten Nachbarparzelle", "Näherbaurecht", "Baurecht; befristet",
                           'sog. "Hofstatt"')) if rng.random() < 0.04 else ""
        if s.part.denominator <= 4:
            part = f"{s.part.numerator}/{s.part.denominator}"
        else:
            part = f"{int(s.part * 1000)}/1000"
        rows.append([key, s.name, part, f"{float(s.part * 100):.2f}".replace(".", ","), s.street,
                     s.postcode, s.place, layout.TOWN, area, ZONE_NAMES[s.parcel.zone], s.since,
                     "", note])
    last = int(max(p.number for p in parcels))
    for n in (last + 7, last + 12):
        rows.append([f"{n:04}", "unbekannt", "1/1", "100,00", "", "", "", layout.TOWN, "412", "",
                     "", "", "Parzelle aufgehoben"])
    return rows, flaws
