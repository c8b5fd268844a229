//! A scanner of well-known binary: type, dimensions, bounds, emptiness, without building a geometry.
//!
//! The encoding is that of OGC 06-103r4 (Simple Features, clause 8) with the type codes of ISO/IEC 13249-3
//! for Z (1001…), M (2001…) and ZM (3001…). PostGIS's extended WKB (flags in the high bits, SRID) is refused:
//! GeoParquet does not allow it. Both byte orders are read, also mixed in one geometry. Bytes are hostile
//! until checked: counts are compared with what is left before anything is read, and nesting is bounded.

use std::fmt;

/// How deep collections may nest.
const MAX_DEPTH: usize = 32;

/// The seven types of Simple Features that a lake keeps, with their WKB codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A position.
    Point = 1,
    /// A line.
    LineString = 2,
    /// A surface with holes.
    Polygon = 3,
    /// Several points.
    MultiPoint = 4,
    /// Several lines.
    MultiLineString = 5,
    /// Several polygons.
    MultiPolygon = 6,
    /// Several of anything.
    GeometryCollection = 7,
}

impl Kind {
    fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Point,
            2 => Self::LineString,
            3 => Self::Polygon,
            4 => Self::MultiPoint,
            5 => Self::MultiLineString,
            6 => Self::MultiPolygon,
            7 => Self::GeometryCollection,
            _ => return None,
        })
    }

    /// The name as GeoParquet spells it: `MultiPolygon`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Point => "Point",
            Self::LineString => "LineString",
            Self::Polygon => "Polygon",
            Self::MultiPoint => "MultiPoint",
            Self::MultiLineString => "MultiLineString",
            Self::MultiPolygon => "MultiPolygon",
            Self::GeometryCollection => "GeometryCollection",
        }
    }

    /// Whether it can be invalid in the sense of OGC Simple Features as long as its coordinates are finite:
    /// points cannot.
    pub fn can_be_invalid(self) -> bool {
        !matches!(self, Self::Point | Self::MultiPoint)
    }
}

/// The first bytes of a geometry: byte order and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its type.
    pub kind: Kind,
    /// Whether positions have a height.
    pub z: bool,
    /// Whether positions have a measure.
    pub m: bool,
    /// Whether numbers are little-endian.
    pub little: bool,
}

impl Header {
    /// Numbers in a position: 2, 3 or 4.
    pub fn dimensions(self) -> usize {
        2 + usize::from(self.z) + usize::from(self.m)
    }
}

/// A run of positions that lie one after the other in the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sequence {
    /// The header of the geometry that the run belongs to.
    pub header: Header,
    /// Where the first position begins.
    pub offset: usize,
    /// How many positions.
    pub count: usize,
}

/// What [`scan`] finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Type and dimensions of the outermost geometry.
    pub header: Header,
    /// `[xmin, ymin, xmax, ymax]`, `None` for an empty geometry.
    pub bounds: Option<[f64; 4]>,
    /// `[zmin, zmax]` over the heights that are numbers.
    pub heights: Option<[f64; 2]>,
    /// The first x or y that is not a finite number, as (index of the position, x, y).
    pub not_finite: Option<(usize, f64, f64)>,
}

/// Why bytes are not well-known binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WkbFault {
    /// The bytes end too early.
    CutOff,
    /// The byte order is neither 0 nor 1.
    ByteOrder(u8),
    /// The type is not one of the seven: curves, surfaces, or extended WKB.
    UnknownType(u32),
    /// A part is of a type that its collection may not hold, or of other dimensions.
    WrongPart,
    /// Collections nest too deep.
    TooDeep,
    /// Bytes are left over.
    TrailingBytes,
}

impl fmt::Display for WkbFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("the geometry's bytes end too early"),
            Self::ByteOrder(byte) => write!(f, "the byte order mark is {byte}, not 0 or 1"),
            Self::UnknownType(code) => write!(
                f,
                "geometry type {code} is not one of point, line string, polygon, their multiples and collections in ISO WKB"
            ),
            Self::WrongPart => f.write_str("a part is of a type or dimension that its collection may not hold"),
            Self::TooDeep => write!(f, "collections nest deeper than {MAX_DEPTH}"),
            Self::TrailingBytes => f.write_str("bytes are left after the geometry's end"),
        }
    }
}

impl std::error::Error for WkbFault {}

/// Reads the header alone: constant time.
pub fn header(wkb: &[u8]) -> Result<Header, WkbFault> {
    Cursor { bytes: wkb, at: 0 }.header()
}

/// Calls `visit` with each run of positions, in order, and returns the outermost header. Checks the structure
/// of the whole; whether rings are closed and valid is not looked at.
pub fn walk(wkb: &[u8], mut visit: impl FnMut(Sequence)) -> Result<Header, WkbFault> {
    let mut cursor = Cursor { bytes: wkb, at: 0 };
    let header = cursor.geometry(None, 0, &mut visit)?;
    if cursor.at != wkb.len() {
        return Err(WkbFault::TrailingBytes);
    }
    Ok(header)
}

/// One pass over the bytes that finds type, bounds and whether all coordinates are finite. A point of NaN, NaN
/// is the empty point, as ISO WKB writes it.
pub fn scan(wkb: &[u8]) -> Result<Summary, WkbFault> {
    let mut bounds = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    let mut heights = [f64::INFINITY, f64::NEG_INFINITY];
    let mut not_finite = None;
    let mut seen = 0usize;
    let header = walk(wkb, |sequence| {
        for (x, y, z) in positions(wkb, sequence) {
            if x.is_finite() && y.is_finite() {
                bounds[0] = bounds[0].min(x);
                bounds[1] = bounds[1].min(y);
                bounds[2] = bounds[2].max(x);
                bounds[3] = bounds[3].max(y);
                heights[0] = heights[0].min(z);
                heights[1] = heights[1].max(z);
            } else if !(sequence.header.kind == Kind::Point && x.is_nan() && y.is_nan()) {
                not_finite.get_or_insert((seen, x, y));
            }
            seen += 1;
        }
    })?;
    Ok(Summary {
        header,
        bounds: (bounds[0] <= bounds[2]).then_some(bounds),
        heights: (heights[0] <= heights[1]).then_some(heights),
        not_finite,
    })
}

/// The positions of a run as (x, y, z); z is NaN where there is none.
pub fn positions(wkb: &[u8], sequence: Sequence) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
    let width = sequence.header.dimensions() * 8;
    let little = sequence.header.little;
    let z = sequence.header.z;
    wkb[sequence.offset..sequence.offset + sequence.count * width].chunks_exact(width).map(move |position| {
        let number = |at: usize| {
            let mut bytes = [0u8; 8];
            bytes.copy_from_slice(&position[at..at + 8]);
            if little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) }
        };
        (number(0), number(8), if z { number(16) } else { f64::NAN })
    })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn u32(&mut self, little: bool) -> Result<u32, WkbFault> {
        let bytes = self.bytes.get(self.at..self.at + 4).ok_or(WkbFault::CutOff)?;
        self.at += 4;
        let mut four = [0u8; 4];
        four.copy_from_slice(bytes);
        Ok(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    }

    fn header(&mut self) -> Result<Header, WkbFault> {
        let little = match self.bytes.get(self.at).ok_or(WkbFault::CutOff)? {
            0 => false,
            1 => true,
            other => return Err(WkbFault::ByteOrder(*other)),
        };
        self.at += 1;
        let code = self.u32(little)?;
        let (z, m) = match code / 1000 {
            0 => (false, false),
            1 => (true, false),
            2 => (false, true),
            3 => (true, true),
            _ => return Err(WkbFault::UnknownType(code)),
        };
        let kind = Kind::from_code(code % 1000).ok_or(WkbFault::UnknownType(code))?;
        Ok(Header { kind, z, m, little })
    }

    /// A count of things that take `least` bytes each at least.
    fn count(&mut self, little: bool, least: usize) -> Result<usize, WkbFault> {
        let count = self.u32(little)? as usize;
        if count.saturating_mul(least) > self.bytes.len() - self.at {
            return Err(WkbFault::CutOff);
        }
        Ok(count)
    }

    fn run(&mut self, header: Header, count: usize, visit: &mut impl FnMut(Sequence)) -> Result<(), WkbFault> {
        let length = count * header.dimensions() * 8;
        if length > self.bytes.len() - self.at {
            return Err(WkbFault::CutOff);
        }
        visit(Sequence { header, offset: self.at, count });
        self.at += length;
        Ok(())
    }

    fn geometry(
        &mut self,
        parent: Option<Header>,
        depth: usize,
        visit: &mut impl FnMut(Sequence),
    ) -> Result<Header, WkbFault> {
        if depth > MAX_DEPTH {
            return Err(WkbFault::TooDeep);
        }
        let header = self.header()?;
        if let Some(parent) = parent {
            let fits = match parent.kind {
                Kind::MultiPoint => header.kind == Kind::Point,
                Kind::MultiLineString => header.kind == Kind::LineString,
                Kind::MultiPolygon => header.kind == Kind::Polygon,
                _ => true,
            };
            if !fits || (header.z, header.m) != (parent.z, parent.m) {
                return Err(WkbFault::WrongPart);
            }
        }
        let width = header.dimensions() * 8;
        match header.kind {
            Kind::Point => self.run(header, 1, visit)?,
            Kind::LineString => {
                let count = self.count(header.little, width)?;
                self.run(header, count, visit)?;
            }
            Kind::Polygon => {
                for _ in 0..self.count(header.little, 4)? {
                    let count = self.count(header.little, width)?;
                    self.run(header, count, visit)?;
                }
            }
            Kind::MultiPoint | Kind::MultiLineString | Kind::MultiPolygon | Kind::GeometryCollection => {
                for _ in 0..self.count(header.little, 9)? {
                    self.geometry(Some(header), depth + 1, visit)?;
                }
            }
        }
        Ok(header)
    }
}

#[cfg(test)]
#[path = "wkb_tests.rs"]
mod tests;
