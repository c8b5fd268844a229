//! A look at a whole GeoJSON file (RFC 7946) before GDAL reads it: GDAL turns a broken geometry into none
//! and skips what is no feature, and says nothing. This says where the file is broken.

use std::cell::Cell;
use std::fmt;
use std::path::Path;

use catchment_model::problem::{Code, Problem};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::mapped::Mapped;

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Number of features.
    pub(crate) features: u64,
    /// Features without a geometry.
    pub(crate) null_geometries: u64,
}

/// Checks a file of one GeoJSON object, or of one a line (`sequence`; RFC 8142 or newline-delimited).
pub(crate) fn check(path: &Path, sequence: bool) -> Result<Tally, Problem> {
    let mapped = Mapped::open(path).map_err(|error| {
        Problem::new(Code::Io, "the file cannot be read").place(path.display().to_string()).cause(error.to_string())
    })?;
    let outcome = if sequence {
        check_sequence(mapped.bytes())
    } else {
        check_object(mapped.bytes(), &|address| mapped.release_before(address))
    };
    outcome.map_err(|problem| match problem.place.clone() {
        Some(place) => problem.place(format!("{}, {place}", path.display())),
        None => problem.place(path.display().to_string()),
    })
}

/// `release` is told from time to time up to which address the bytes are done with.
fn check_object(bytes: &[u8], release: &dyn Fn(usize)) -> Result<Tally, Problem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let tally = Counting { release: Some(release), ..Counting::default() };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    Object { tally: &tally, is_top: true }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| fault(&error, &tally, 0))?;
    Ok(tally.tally())
}

fn check_sequence(bytes: &[u8]) -> Result<Tally, Problem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let tally = Counting::default();
    let separator = if bytes.first() == Some(&0x1e) { 0x1e } else { b'\n' };
    let mut lines_before = 0;
    for record in bytes.split(|&byte| byte == separator) {
        if !record.trim_ascii().is_empty() {
            let mut json = serde_json::Deserializer::from_slice(record);
            Object { tally: &tally, is_top: true }
                .deserialize(&mut json)
                .and_then(|()| json.end())
                .map_err(|error| fault(&error, &tally, lines_before))?;
        }
        lines_before += record.iter().filter(|&&byte| byte == b'\n').count() + usize::from(separator == b'\n');
    }
    Ok(tally.tally())
}

fn fault(error: &serde_json::Error, tally: &Counting<'_>, lines_before: usize) -> Problem {
    let text = error.to_string();
    let cause = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let line = error.line() + lines_before;
    let at = match tally.current.get() {
        0 => format!("line {line}, column {}", error.column()),
        number => format!("feature {number} (counted from 1), line {line}, column {}", error.column()),
    };
    let problem = if error.is_eof() {
        Problem::new(Code::FileCorrupt, "the GeoJSON file is cut off").remedy("upload it again, whole")
    } else if error.is_syntax() {
        Problem::new(Code::FileCorrupt, "the GeoJSON file is not valid JSON").remedy("mend the file at that place")
    } else {
        Problem::new(Code::FileCorrupt, "the GeoJSON file has a broken feature").remedy("mend or remove that feature")
    };
    problem.place(at).cause(cause)
}

/// Counts that the nested visitors share.
#[derive(Default)]
struct Counting<'r> {
    features: Cell<u64>,
    null_geometries: Cell<u64>,
    /// The feature that is looked at, from 1; 0 outside.
    current: Cell<u64>,
    /// Where the last key stands in memory: all before it has been looked at.
    address: Cell<usize>,
    release: Option<&'r dyn Fn(usize)>,
}

impl Counting<'_> {
    fn tally(&self) -> Tally {
        Tally { features: self.features.get(), null_geometries: self.null_geometries.get() }
    }
}

/// A GeoJSON object: at the top of a file, or a feature in a collection.
#[derive(Clone, Copy)]
struct Object<'a> {
    tally: &'a Counting<'a>,
    is_top: bool,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_top { "a GeoJSON object" } else { "a feature (an object with \"type\": \"Feature\")" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut kind: Option<String> = None;
        let mut parts = Parts::default();
        let mut geometry = None;
        let mut has_features = false;
        while let Some(key) = map.next_key::<Key>()? {
            self.tally.address.set(key.address);
            match key.name {
                "type" => kind = Some(map.next_value()?),
                "features" if self.is_top => {
                    has_features = true;
                    map.next_value_seed(Features(self.tally))?;
                }
                "geometry" => geometry = map.next_value_seed(Geometry { depth: 0 })?,
                "coordinates" if self.is_top => {
                    parts.coordinates = Some(map.next_value_seed(Coordinates { depth: 0 })?)
                }
                "geometries" if self.is_top => {
                    map.next_value_seed(Geometries { depth: 1 })?;
                    parts.has_geometries = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let kind = kind.ok_or_else(|| A::Error::custom("it has no \"type\""))?;
        match kind.as_str() {
            "FeatureCollection" if self.is_top && has_features => return Ok(()),
            "FeatureCollection" if self.is_top => return Err(A::Error::custom("the collection has no \"features\"")),
            "Feature" => {}
            _ if self.is_top => {
                parts.check(&kind).map_err(A::Error::custom)?;
                geometry = Some(());
            }
            other => return Err(A::Error::custom(format!("its type is {other:?}, not \"Feature\""))),
        }
        self.tally.features.set(self.tally.features.get() + 1);
        if geometry.is_none() {
            self.tally.null_geometries.set(self.tally.null_geometries.get() + 1);
        }
        Ok(())
    }
}

/// Number of features after which the memory of those before is let go.
const RELEASE_EVERY: u64 = 4096;

/// A key of an object: one of those that matter, or an empty string; and where it stands in memory, or 0
/// where it was put together from escapes.
struct Key {
    name: &'static str,
    address: usize,
}

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        const NAMES: [&str; 5] = ["type", "features", "geometry", "coordinates", "geometries"];
        Ok(Key { name: NAMES.into_iter().find(|name| *name == key).unwrap_or_default(), address: 0 })
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Key, E> {
        Ok(Key { address: key.as_ptr().addr(), ..self.visit_str(key)? })
    }
}

struct Features<'a>(&'a Counting<'a>);

impl<'de> DeserializeSeed<'de> for Features<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Features<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of features")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut features: A) -> Result<(), A::Error> {
        let mut number = 1;
        self.0.current.set(number);
        while features.next_element_seed(Object { tally: self.0, is_top: false })?.is_some() {
            number += 1;
            self.0.current.set(number);
            if number % RELEASE_EVERY == 0
                && let Some(release) = self.0.release
            {
                release(self.0.address.get());
            }
        }
        self.0.current.set(0);
        Ok(())
    }
}

/// What a geometry object was seen to have.
#[derive(Default)]
struct Parts {
    coordinates: Option<Shape>,
    has_geometries: bool,
}

impl Parts {
    fn check(&self, kind: &str) -> Result<(), String> {
        let wanted = match kind {
            "Point" => 1,
            "MultiPoint" | "LineString" => 2,
            "MultiLineString" | "Polygon" => 3,
            "MultiPolygon" => 4,
            "GeometryCollection" if self.has_geometries => return Ok(()),
            "GeometryCollection" => return Err("a GeometryCollection has no \"geometries\"".to_owned()),
            other => return Err(format!("no geometry is of the type {other:?}")),
        };
        match self.coordinates {
            None => Err(format!("a {kind} has no \"coordinates\"")),
            Some(Shape { depth, is_exact }) if depth == wanted || (!is_exact && depth < wanted) => Ok(()),
            Some(_) => Err(format!("the coordinates of a {kind} are not nested as its type demands")),
        }
    }
}

/// A geometry object or null; the value tells which.
struct Geometry {
    depth: u32,
}

impl<'de> DeserializeSeed<'de> for Geometry {
    type Value = Option<()>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<()>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Geometry {
    type Value = Option<()>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a geometry object or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<()>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<()>, A::Error> {
        let mut kind: Option<String> = None;
        let mut parts = Parts::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key.name {
                "type" => kind = Some(map.next_value()?),
                "coordinates" => parts.coordinates = Some(map.next_value_seed(Coordinates { depth: 0 })?),
                "geometries" => {
                    map.next_value_seed(Geometries { depth: self.depth + 1 })?;
                    parts.has_geometries = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let kind = kind.ok_or_else(|| A::Error::custom("a geometry has no \"type\""))?;
        parts.check(&kind).map_err(A::Error::custom)?;
        Ok(Some(()))
    }
}

struct Geometries {
    depth: u32,
}

impl<'de> DeserializeSeed<'de> for Geometries {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Geometries {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of geometries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        while let Some(part) = parts.next_element_seed(Geometry { depth: self.depth })? {
            if part.is_none() {
                return Err(A::Error::custom("a GeometryCollection holds null"));
            }
        }
        Ok(())
    }
}

/// How coordinates are nested: a number is 0 deep, a position 1. Where an empty array hides the depth,
/// `depth` is the least that it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    depth: u32,
    is_exact: bool,
}

struct Coordinates {
    depth: u32,
}

impl<'de> DeserializeSeed<'de> for Coordinates {
    type Value = Shape;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Shape, D::Error> {
        json.deserialize_any(self)
    }
}

const NUMBER: Shape = Shape { depth: 0, is_exact: true };

impl<'de> Visitor<'de> for Coordinates {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.depth == 0 { "an array of coordinates" } else { "a number or an array of numbers" })
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Shape, E> {
        if number.is_finite() { Ok(NUMBER) } else { Err(E::custom("a coordinate is not a finite number")) }
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Shape, E> {
        Ok(NUMBER)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Shape, E> {
        Ok(NUMBER)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Shape, A::Error> {
        let mut inner: Option<Shape> = None;
        let mut count = 0_usize;
        while let Some(element) = array.next_element_seed(Coordinates { depth: self.depth + 1 })? {
            count += 1;
            inner = Some(match inner {
                None => element,
                Some(known) => merge(known, element)
                    .ok_or_else(|| A::Error::custom("coordinates of different nesting stand side by side"))?,
            });
        }
        match inner {
            None => Ok(Shape { depth: 1, is_exact: false }),
            Some(NUMBER) if count < 2 => Err(A::Error::custom("a position has fewer than two numbers")),
            Some(Shape { depth, is_exact }) => Ok(Shape { depth: depth + 1, is_exact }),
        }
    }
}

fn merge(a: Shape, b: Shape) -> Option<Shape> {
    match (a.is_exact, b.is_exact) {
        (true, true) => (a == b).then_some(a),
        (true, false) => (b.depth <= a.depth).then_some(a),
        (false, true) => (a.depth <= b.depth).then_some(b),
        (false, false) => Some(if a.depth > b.depth { a } else { b }),
    }
}

#[cfg(test)]
#[path = "geojson_tests.rs"]
mod tests;
